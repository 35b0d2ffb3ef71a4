# Needs: the registry. Makes: the models' files, fetched or checked, each with a JSON record of what it is.


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
        entry=lambda wildcards: or_stop(FLOW.registry.origin, wildcards.model, wildcards.weights),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer fetch-weights {wildcards.model:q} {output:q} --entry {params.entry:q} 2>&1 | tee {log:q}'


rule fetch_model:
    input:
        # with a bucket the files would go there, and the jobs need them on the volume: fetch-model fetches them itself
        lambda wildcards: [] if IN_BUCKET else or_stop(FLOW.weights_of, wildcards.model),
    output:
        model_json("{model}"),
    log:
        f"{ART}/logs/fetch_model/{{model}}.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        entry=lambda wildcards: or_stop(FLOW.registry.state, wildcards.model),
        registry=as_is(CFG.registry),
        folder=lambda wildcards: f"{ART}/models",  # not the output's, which with a bucket is a copy on one node
        shared=as_is(["--shared-dir", CFG.models_dir] if CFG.models_dir else []),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer fetch-model {wildcards.model:q} {output:q} --registry {params.registry:q}'
        " --models-dir {params.folder:q} {params.shared:q} 2>&1 | tee {log:q}"


# Fetches what the metrics can use; the run itself takes the tagger only if it is here. A run after it computes only what is new.
rule evaluation_models:
    input:
        [model_json(name) for name in (FLOW.evaluation_models.get("recogniser"), CFG.evaluate.tagger) if name],
