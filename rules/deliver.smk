# Needs: the finished files. Makes: the output folder (links or copies, the input's tree) and, on demand, archives with checksums.

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
        absent=lambda wildcards: absent_outputs(wildcards.shard),
        sweep=lambda wildcards, input: [f"--sweep={path}" for path in input.sweep],
        code=code("stages.publish"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer publish {input.manifest:q} {output.manifest:q} --output {params.output:q}'
        " {params.sweep:q} --store {params.store:q} 2>&1 | tee {log:q}"


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
        code=code("stages.deliver"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer deliver {params.manifests:q} --out {params.folder:q} --config {params.cfg:q}'
        " {params.models:q} {params.extras:q} 2>&1 | tee {log:q}"
