# Needs: the finished files and, where there are any, references and transcripts; a recogniser and a tagger by config.
# Makes: metrics.json and metrics.csv.

from audiorestorer.metrics import groups as metric_groups
from audiorestorer.resources import one_after_the_other

or_stop(metric_groups.known)  # a declaration that is not complete stops the run before it starts
EVALUATE = FLOW.stage("evaluate")
SENTENCES = or_stop(FLOW.sentences_file)
WORDS_BELOW = BATCH.words_below(CFG.evaluate.wer_sample, CFG.evaluate.seed) if "wer" in CFG.evaluate.metrics else None


rule evaluate:
    input:
        **{option: model_json(name) for option, name in FLOW.evaluation_models.items()},
        manifest=manifest("loudness"),
    output:
        manifest=finished("evaluate"),
    log:
        FLOW.log_of("evaluate"),
    priority: FLOW.priority(EVALUATE)
    conda:
        "../envs/audiorestorer.yaml"
    threads: NETWORK_THREADS
    resources:
        **FLOW.needs(one_after_the_other(metric_groups.costs(CFG.evaluate.metrics)), processes=NETWORK_THREADS),
        gpu=gpus if FLOW.evaluation_models else 0,
    params:
        store=STORE,
        cfg=as_is(FLOW.section_json("evaluate")),
        code=FLOW.evaluation_code(),
        packages=metric_groups.optional_packages(),
        sentences=as_is([f"--sentences={SENTENCES}"] if SENTENCES else []),
        words=[f"--words-below={WORDS_BELOW}"] if WORDS_BELOW else [],
        sentences_digest=or_stop(sha256_file, SENTENCES) if SENTENCES else "",
        models=lambda wildcards, input: [f"--{option}={path}" for option, path in input.items() if option != "manifest"],
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate {input.manifest:q} {output.manifest:q} --config {params.cfg:q} {params.sentences:q}'
        " {params.words:q} {params.models:q} --device {params.device:q} --threads {threads} --store {params.store:q} 2>&1 | tee {log:q}"


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
        manifests=all_manifests,
        code=code_digest("stages.batch.collect"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer collect {params.manifests:q} --left-out {input.left_out:q} --json {output.json:q} --csv {output.csv:q}'
        " 2>&1 | tee {log:q}"
