# Needs: the finished files. Makes: the output folder (links or copies, the input's tree) and, on demand, one zip with checksums.

INTERMEDIATE = [f"separate/{name}" for name in SEPARATORS] + ["fuse", "denoise", "postmask"]


rule publish:
    input:
        manifest=manifest("loudness"),
        sweep=[] if CFG.keep_intermediates else [manifest(stage) for stage in INTERMEDIATE],
    output:
        manifest=ensure(manifest("publish"), non_empty=True),
    log:
        log_of("publish"),
    priority: 6
    conda:
        "../envs/audiorestorer.yaml"
    params:
        store=STORE,
        output=as_is(CFG.output),
        absent=lambda wildcards: absent_outputs(wildcards.shard),
        sweep=lambda wildcards, input: [f"--sweep={path}" for path in input.sweep],
        code=code("stages.publish"),
    shell:
        "python -m audiorestorer publish {input.manifest:q} {output.manifest:q} --output {params.output:q}"
        " {params.sweep:q} --store {params.store:q} 2>&1 | tee {log:q}"


rule zip_delivery:
    input:
        manifests=expand(manifest("loudness"), shard=SHARDS),
        extras=[*METRICS, f"{ART}/report/summary.md"],
    output:
        f"{ART}/delivery/{CFG.deliver.name}.zip",
    log:
        f"{ART}/logs/deliver.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        name=CFG.deliver.name,
        extras=lambda wildcards, input: [f"--extra={path}" for path in input.extras],
        code=code("stages.deliver"),
    shell:
        "python -m audiorestorer deliver {input.manifests:q} --out {output:q} --name {params.name:q}"
        " {params.extras:q} 2>&1 | tee {log:q}"
