# Needs: ingest's manifests and the models' files. Makes: each separator's stems, one manifest per (separator, shard).


rule separate:
    input:
        manifest=manifest("ingest"),
        model=lambda wildcards: model_json(SEPARATORS[wildcards.separator].model),
    output:
        manifest=made("separate/{separator}"),
    log:
        log_of("separate/{separator}"),
    conda:
        "../envs/audiorestorer.yaml"
    threads: NETWORK_THREADS
    resources:
        **needs(separator_cost),
        gpu=USE_GPU,
    params:
        store=STORE,
        cfg=lambda wildcards: SEPARATORS[wildcards.separator].model_dump_json(),
        code=lambda wildcards: network_code("separate", SEPARATORS[wildcards.separator].model),
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer separate {input.manifest:q} {output.manifest:q} --config {params.cfg:q}'
        " --model {input.model:q} --store {params.store:q} --device {params.device:q} --threads {threads} 2>&1 | tee {log:q}"
