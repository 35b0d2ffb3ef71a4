# Needs: the input folder. Makes: one manifest a shard that says which recordings can be used, and what the run leaves out.

INGEST = FLOW.stage("ingest")


rule ingest:
    output:
        manifest=finished("ingest"),
    log:
        FLOW.log_of("ingest"),
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        **FLOW.needs(FLOW.cost_of(INGEST)),
    params:
        store=STORE,
        cfg=as_is(FLOW.ingest_json()),
        listing=lambda wildcards: LISTING[wildcards.shard].digest,
        code=FLOW.code_of(INGEST),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer ingest {output.manifest:q} --config {params.cfg:q} --shard {wildcards.shard}'
        " --store {params.store:q} 2>&1 | tee {log:q}"


rule left_out:
    output:
        LEFT_OUT,
    log:
        f"{ART}/logs/left_out.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        cfg=as_is(FLOW.ingest_json()),
        found=BATCH.left_out_digest,
        code=code_digest("stages.batch.left_out"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer left-out {output:q} --config {params.cfg:q} 2>&1 | tee {log:q}'
