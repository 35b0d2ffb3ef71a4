# Needs: the finished files. Makes: the output folder (copies, the input's tree; what left the input goes) and, on demand, archives with checksums.

OUTPUT_STATE = f"{ART}/eval/output.json"
PUBLISH = FLOW.stage("publish")


rule publish:
    input:
        manifest=manifest("loudness"),
        sweep=[] if CFG.keep_intermediates else FLOW.intermediates(),
    output:
        manifest=finished("publish"),
    log:
        FLOW.log_of("publish"),
    priority: FLOW.priority(PUBLISH)
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        **FLOW.needs(FLOW.cost_of(PUBLISH)),
    params:
        store=STORE,
        output=as_is(CFG.output),
        source=as_is(CFG.input),
        ledger=LEDGER,
        replace=as_is("--replace-edited" if CFG.replace_edited else "--keep-edited"),
        round=lambda wildcards: RUN.publishing_round(wildcards.shard),
        sweep=lambda wildcards, input: [f"--sweep={path}" for path in input.sweep],
        code=FLOW.code_of(PUBLISH),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer publish {input.manifest:q} {output.manifest:q} --output {params.output:q}'
        " --ledger {params.ledger:q} --input {params.source:q} {params.replace:q} --round {params.round:q}"
        " {params.sweep:q} --store {params.store:q} 2>&1 | tee {log:q}"


rule tidy:
    input:
        manifests=expand(manifest("publish"), shard=SHARDS),
    output:
        json=OUTPUT_STATE,
    log:
        f"{ART}/logs/tidy.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        manifests=all_manifests,
        output=as_is(CFG.output),
        source=as_is(CFG.input),
        stale=CFG.stale_outputs,
        ledger=LEDGER,
        deliveries=os.path.dirname(DELIVERY),
        code=code_digest("stages.batch.tidy"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer tidy {params.manifests:q} {output.json:q} --output {params.output:q} --input {params.source:q}'
        " --ledger {params.ledger:q} --stale {params.stale:q} --deliveries {params.deliveries:q} 2>&1 | tee {log:q}"


# Declared is the list of archives, which is written last: how many there are depends on their sizes.
rule pack_delivery:
    input:
        manifests=expand(manifest("loudness"), shard=SHARDS),
        models=[model_json(name) for name in FLOW.networks()],
        extras=[*METRICS, f"{ART}/report/summary.md"],
    output:
        sums=DELIVERY,
    log:
        f"{ART}/logs/deliver.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        manifests=all_manifests,
        cfg=FLOW.section_json("deliver"),
        folder=as_is(os.path.dirname(DELIVERY)),
        sums=as_is(DELIVERY),  # of a bucket's run the output is a copy on one node, and the archives lie in the artifacts
        models=lambda wildcards, input: [f"--model={path}" for path in input.models],
        extras=lambda wildcards, input: [f"--extra={path}" for path in input.extras],
        absent=RUN.absent_archives(),
        code=code_digest("stages.batch.deliver"),
    shell:
        '(sh "$AUDIORESTORER_PYTHON" -m audiorestorer deliver {params.manifests:q} --out {params.folder:q} --config {params.cfg:q}'
        " {params.models:q} {params.extras:q} && {{ test -e {output.sums:q} || cp {params.sums:q} {output.sums:q}; }}) 2>&1 | tee {log:q}"


rule strict:
    input:
        metrics=METRICS[0],
        results=REPORT_FILES.values(),
        published=expand(manifest("publish"), shard=SHARDS),
    output:
        touch(f"{ART}/eval/strict.txt"),
    log:
        f"{ART}/logs/strict.log",
    conda:
        "../envs/audiorestorer.yaml"
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer strict {input.metrics:q} 2>&1 | tee {log:q}'
