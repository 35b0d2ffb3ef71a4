# Needs: the input folder. Makes: one manifest a shard that says which recordings can be used.


rule ingest:
    output:
        manifest=ensure(manifest("ingest"), non_empty=True),
    log:
        log_of("ingest"),
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        **needs(needed.STAGES["ingest"]),
    params:
        store=STORE,
        cfg=as_is(ingest_json()),
        listing=lambda wildcards: LISTING[wildcards.shard].digest,
        code=code("stages.ingest"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer ingest {output.manifest:q} --config {params.cfg:q} --shard {wildcards.shard}'
        " --store {params.store:q} 2>&1 | tee {log:q}"
