# Needs: the input folder. Makes: one manifest a shard that says which recordings can be used.


rule ingest:
    output:
        manifest=ensure(manifest("ingest"), non_empty=True),
    log:
        log_of("ingest"),
    params:
        cfg=ingest_json(),
        listing=lambda wildcards: LISTING[wildcards.shard],
        code=code("stages.ingest"),
    conda:
        "../envs/audiorestorer.yaml"
    shell:
        "{PY:q} -m audiorestorer ingest {output.manifest:q} --config {params.cfg:q} --shard {wildcards.shard}"
        " --store {STORE:q} 2>&1 | tee {log:q}"
