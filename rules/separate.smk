# Needs: the manifests of ingest (or declip or declick) and the models' files. Makes: each separator's stems, one manifest per (separator, shard).


rule separate:
    input:
        manifest=FLOW.inputs_of(FLOW.stage("separate")),
        model=lambda wildcards: model_json(FLOW.separators[wildcards.separator].model),
    output:
        manifest=made("separate/{separator}"),
    log:
        FLOW.log_of("separate/{separator}"),
    conda:
        "../envs/audiorestorer.yaml"
    threads: NETWORK_THREADS
    resources:
        **FLOW.needs(lambda wildcards: FLOW.separator_cost(wildcards.separator)),
        gpu=gpus,
    params:
        store=STORE,
        cfg=lambda wildcards: FLOW.separators[wildcards.separator].model_dump_json(),
        code=lambda wildcards: FLOW.separator_code(wildcards.separator),
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer separate {input.manifest:q} {output.manifest:q} --config {params.cfg:q}'
        " --model {input.model:q} --store {params.store:q} --device {params.device:q} --threads {threads} 2>&1 | tee {log:q}"
