# Needs: ingest's manifests and the registry. Makes: the models' files, and each separator's stems, one manifest a (separator, shard).


rule fetch_model:
    output:
        model_json("{model}"),
    log:
        f"{ART}/logs/fetch_model/{{model}}.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        entry=lambda wildcards: or_stop(REGISTRY.state, wildcards.model),
        registry=as_is(CFG.registry),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "python -m audiorestorer fetch-model {wildcards.model:q} {output:q} --registry {params.registry:q}"
        " --models-dir {params.folder:q} 2>&1 | tee {log:q}"


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
        gpu=USE_GPU,
        mem_mb=lambda wildcards: 8000 if REGISTRY.get(SEPARATORS[wildcards.separator].model).kind == "demucs" else 4000,
        runtime=240,
    params:
        store=STORE,
        cfg=lambda wildcards: SEPARATORS[wildcards.separator].model_dump_json(),
        code=lambda wildcards: network_code("separate", SEPARATORS[wildcards.separator].model),
        device=CFG.device,
    shell:
        "python -m audiorestorer separate {input.manifest:q} {output.manifest:q} --config {params.cfg:q}"
        " --model {input.model:q} --store {params.store:q} --device {params.device:q} --threads {threads} 2>&1 | tee {log:q}"
