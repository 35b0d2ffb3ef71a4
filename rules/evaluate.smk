# Needs: the finished files and, where there are any, references and transcripts; a recogniser and a tagger by config.
# Makes: metrics.json and metrics.csv.

from audiorestorer.stages import evaluate as evaluate_stage

SENTENCES = or_stop(sentences_file)


# Fetches what the metrics can use; the run itself takes the tagger only if it is here. A run after it computes only what is new.
rule evaluation_models:
    input:
        [model_json(name) for name in (RECOGNISER, CFG.evaluate.tagger) if name],


rule evaluate:
    input:
        manifest=manifest("loudness"),
        recogniser=model_json(RECOGNISER) if RECOGNISER else [],
        tagger=model_json(TAGGER) if TAGGER else [],
    output:
        manifest=ensure(manifest("evaluate"), non_empty=True),
    log:
        log_of("evaluate"),
    priority: 5
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        gpu=USE_GPU if EVALUATION_MODELS else 0,
        mem_mb=4000 if EVALUATION_MODELS else 2000,
        runtime=120,
    params:
        store=STORE,
        cfg=as_is(cfg_json("evaluate")),
        code=code("stages.evaluate", *EVALUATION_MODULES),
        packages=evaluate_stage.optional_packages(),
        sentences=as_is([f"--sentences={SENTENCES}"] if SENTENCES else []),
        sentences_digest=or_stop(sha256_file, SENTENCES) if SENTENCES else "",
        models=lambda wildcards, input: [f"--{name}={input[name]}" for name in ("recogniser", "tagger") if input[name]],
        device=CFG.device,
    shell:
        "python -m audiorestorer evaluate {input.manifest:q} {output.manifest:q} --config {params.cfg:q} {params.sentences:q}"
        " {params.models:q} --device {params.device:q} --threads {threads} --store {params.store:q} 2>&1 | tee {log:q}"


rule collect:
    input:
        manifests=expand(manifest("evaluate"), shard=SHARDS),
    output:
        json=METRICS[0],
        csv=METRICS[1],
    log:
        f"{ART}/logs/collect.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        code=code("stages.collect"),
    shell:
        "python -m audiorestorer collect {input.manifests:q} --json {output.json:q} --csv {output.csv:q} 2>&1 | tee {log:q}"


rule strict:
    input:
        metrics=METRICS[0],
        results=REPORT_FILES,
        published=expand(manifest("publish"), shard=SHARDS),
    output:
        touch(f"{ART}/eval/strict.txt"),
    log:
        f"{ART}/logs/strict.log",
    conda:
        "../envs/audiorestorer.yaml"
    shell:
        "python -m audiorestorer strict {input.metrics:q} 2>&1 | tee {log:q}"
