# Needs: the finished files and, where there are any, references and transcripts. Makes: metrics.json and metrics.csv.


rule evaluate:
    input:
        manifest=manifest("loudness"),
    output:
        manifest=ensure(manifest("evaluate"), non_empty=True),
    log:
        log_of("evaluate"),
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        store=STORE,
        cfg=cfg_json("evaluate"),
        code=code("stages.evaluate"),
    shell:
        "python -m audiorestorer evaluate {input.manifest:q} {output.manifest:q} --config {params.cfg:q}"
        " --store {params.store:q} 2>&1 | tee {log:q}"


rule collect:
    input:
        manifests=expand(manifest("evaluate"), shard=SHARDS),
    output:
        json=METRICS[0],
        csv=METRICS[1],
    log:
        f"{ART}/logs/collect.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        code=code("stages.collect"),
    shell:
        "python -m audiorestorer collect {input.manifests:q} --json {output.json:q} --csv {output.csv:q} 2>&1 | tee {log:q}"


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
        "python -m audiorestorer strict {input.metrics:q} 2>&1 | tee {log:q}"
