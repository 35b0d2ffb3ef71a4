# Needs: ingest's manifests and the registry. Makes: the models' files, and each separator's stems, one manifest a (separator, shard).


# What it depends on stands in `entry`, and no path does: folders with registries of their own take a file from one cache.
rule fetch_weights:
    output:
        f"{ART}/models/{{model}}/{{weights}}",
    log:
        f"{ART}/logs/fetch_weights/{{model}}/{{weights}}.log",
    cache: CACHING
    conda:
        "../envs/audiorestorer.yaml"
    params:
        entry=lambda wildcards: or_stop(REGISTRY.origin, wildcards.model, wildcards.weights),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer fetch-weights {wildcards.model:q} {output:q} --entry {params.entry:q} 2>&1 | tee {log:q}'


rule fetch_model:
    input:
        lambda wildcards: weights_of(wildcards.model),
    output:
        model_json("{model}"),
    log:
        f"{ART}/logs/fetch_model/{{model}}.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        entry=lambda wildcards: or_stop(REGISTRY.state, wildcards.model),
        registry=as_is(CFG.registry),
        folder=lambda wildcards: f"{ART}/models",  # not the output's, which with a bucket is a copy on one node
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer fetch-model {wildcards.model:q} {output:q} --registry {params.registry:q}'
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
