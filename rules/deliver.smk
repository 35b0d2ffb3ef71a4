# Needs: the finished files. Makes: the output folder (copies, the input's tree; what left the input goes) and, on demand, archives with checksums.

OUTPUT_STATE = f"{ART}/eval/output.json"
STAYED_TOLD = 5
REPLACE = "to have ours, move or delete them and run the same command again, or add --config replace_edited=true"
INTERMEDIATE = [f"separate/{name}" for name in SEPARATORS] + ["fuse", "denoise", "postmask"]
INTERMEDIATE += ["enhance"] if CFG.enhance.enabled else []


rule publish:
    input:
        manifest=manifest("loudness"),
        sweep=[] if CFG.keep_intermediates else [manifest(stage) for stage in INTERMEDIATE],
    output:
        manifest=ensure(manifest("publish"), non_empty=True),
    log:
        log_of("publish"),
    priority: 7
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        **needs(needed.STAGES["publish"]),
    params:
        store=STORE,
        output=as_is(CFG.output),
        source=as_is(CFG.input),
        ledger=LEDGER,
        replace=as_is("--replace-edited" if CFG.replace_edited else "--keep-edited"),
        round=lambda wildcards: publishing_round(wildcards.shard),
        sweep=lambda wildcards, input: [f"--sweep={path}" for path in input.sweep],
        code=code("stages.publish"),
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
        manifests=all_manifests("publish"),
        output=as_is(CFG.output),
        source=as_is(CFG.input),
        stale=CFG.stale_outputs,
        ledger=LEDGER,
        deliveries=os.path.dirname(DELIVERY),
        code=code("stages.batch.tidy"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer tidy {params.manifests:q} {output.json:q} --output {params.output:q} --input {params.source:q}'
        " --ledger {params.ledger:q} --stale {params.stale:q} --deliveries {params.deliveries:q} 2>&1 | tee {log:q}"


# Declared is the list of archives, which is written last: how many there are depends on their sizes.
rule pack_delivery:
    input:
        manifests=expand(manifest("loudness"), shard=SHARDS),
        models=[model_json(name) for name in MODELS],
        extras=[*METRICS, f"{ART}/report/summary.md"],
    output:
        sums=DELIVERY,
    log:
        f"{ART}/logs/deliver.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        manifests=all_manifests("loudness"),
        cfg=cfg_json("deliver"),
        folder=lambda wildcards, output: os.path.dirname(output.sums),
        models=lambda wildcards, input: [f"--model={path}" for path in input.models],
        extras=lambda wildcards, input: [f"--extra={path}" for path in input.extras],
        absent=absent_archives(),
        code=code("stages.batch.deliver"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer deliver {params.manifests:q} --out {params.folder:q} --config {params.cfg:q}'
        " {params.models:q} {params.extras:q} 2>&1 | tee {log:q}"


def say_what_stayed():
    """At the end of a run: files in the output folder that are not what this run made, and why."""
    try:
        with open(OUTPUT_STATE, encoding="utf-8") as file:
            state = json.load(file)
        kept, stale = state["kept"], state["stale"]
    except (OSError, ValueError, KeyError):
        return
    for found, remedy in ((kept, REPLACE), (stale, "they are no longer of the input")):
        for entry in found[:STAYED_TOLD]:
            print(f"{entry['file']}: kept: {entry['reason']}", file=sys.stderr)
        if found:
            print(f"{len(found)} files were kept (all in {OUTPUT_STATE}): {remedy}", file=sys.stderr)
