# Needs: the finished files and, where there are any, references and transcripts; a recogniser and a tagger by config.
# Makes: metrics.json and metrics.csv.

from audiorestorer.metrics.context import optional_packages
from audiorestorer.resources import of_evaluation

EVALUATE = FLOW.stage("evaluate")
SENTENCES = or_stop(FLOW.sentences_file)


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
    resources:
        **FLOW.needs(of_evaluation(CFG.evaluate.metrics)),
        gpu=gpus if FLOW.evaluation_models else 0,
    params:
        store=STORE,
        cfg=as_is(FLOW.section_json("evaluate")),
        code=FLOW.evaluation_code(),
        packages=optional_packages(),
        sentences=as_is([f"--sentences={SENTENCES}"] if SENTENCES else []),
        sentences_digest=or_stop(sha256_file, SENTENCES) if SENTENCES else "",
        models=lambda wildcards, input: [f"--{option}={path}" for option, path in input.items() if option != "manifest"],
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate {input.manifest:q} {output.manifest:q} --config {params.cfg:q} {params.sentences:q}'
        " {params.models:q} --device {params.device:q} --threads {threads} --store {params.store:q} 2>&1 | tee {log:q}"


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
        code=code_digest("stages.batch.collect"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer collect {params.manifests:q} --left-out {input.left_out:q} --json {output.json:q} --csv {output.csv:q}'
        " 2>&1 | tee {log:q}"
