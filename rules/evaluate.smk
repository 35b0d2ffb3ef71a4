# Needs: the finished files and, where there are any, references and transcripts; a recogniser and a tagger by config.
# Makes: metrics.json and metrics.csv.

from audiorestorer.metrics import groups as metric_groups

or_stop(metric_groups.known)  # a declaration that is not complete stops the run before it starts
SENTENCES = or_stop(sentences_file)


rule evaluate:
    input:
        manifest=manifest("loudness"),
        recogniser=model_json(RECOGNISER) if RECOGNISER else [],
        tagger=model_json(TAGGER) if TAGGER else [],
    output:
        manifest=ensure(manifest("evaluate"), non_empty=True),
    log:
        log_of("evaluate"),
    priority: 6
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        **needs(needed.one_after_the_other(metric_groups.costs(CFG.evaluate.metrics))),
        gpu=USE_GPU if EVALUATION_MODELS else 0,
    params:
        store=STORE,
        cfg=as_is(cfg_json("evaluate")),
        code=code("stages.evaluate", *EVALUATION_MODULES),
        packages=metric_groups.optional_packages(),
        sentences=as_is([f"--sentences={SENTENCES}"] if SENTENCES else []),
        sentences_digest=or_stop(sha256_file, SENTENCES) if SENTENCES else "",
        models=lambda wildcards, input: [f"--{name}={input[name]}" for name in ("recogniser", "tagger") if input[name]],
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate {input.manifest:q} {output.manifest:q} --config {params.cfg:q} {params.sentences:q}'
        " {params.models:q} --device {params.device:q} --threads {threads} --store {params.store:q} 2>&1 | tee {log:q}"


# Not part of `all`: it measures the model on degraded versions of the clean references, not the batch.
rule enhancer_quality:
    input:
        model=model_json(CFG.enhance.model),
        denoiser=model_json("pilot_denoiser"),
    output:
        multiext(f"{ART}/enhancer/quality", ".json", ".csv", ".md"),
    log:
        f"{ART}/logs/enhancer_quality.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: NETWORK_THREADS
    resources:
        **growing(mem_mb=4000, runtime=480),
        gpu=USE_GPU,
    params:
        speech=clean_speech,
        listing=LISTING,
        out=lambda wildcards, output: os.path.dirname(output[0]),
        transcripts=lambda wildcards: [f"--transcripts={path}" for path in pairs.companions(CFG)[1:] if path],
        cfg=CFG.enhance.model_dump_json(exclude={"enabled"}),
        code=code("stages.training.evaluate_enhancer", "metrics.recognisers.pocketsphinx"),
        store=STORE,
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate-enhancer {params.speech:q} --out {params.out:q} --checkpoint {input.model:q}'
        " --denoiser {input.denoiser:q} {params.transcripts:q} --config {params.cfg:q} --limit 24 --store {params.store:q}"
        " --device {params.device:q} --threads {threads} 2>&1 | tee {log:q}"


rule collect:
    input:
        manifests=expand(manifest("evaluate"), shard=SHARDS),
        left_out=LEFT_OUT,
    output:
        json=METRICS[0],
        csv=METRICS[1],
    log:
        f"{ART}/logs/collect.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        manifests=all_manifests("evaluate"),
        code=code("stages.batch.collect"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer collect {params.manifests:q} --left-out {input.left_out:q} --json {output.json:q} --csv {output.csv:q}'
        " 2>&1 | tee {log:q}"


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
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer strict {input.metrics:q} 2>&1 | tee {log:q}'
