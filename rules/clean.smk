# Needs: the separators' stems. Makes: fused speech, denoised, post-masked, where asked for enhanced, and brought to its loudness:
# one manifest a (stage, shard).


rule fuse:
    input:
        manifests=expand(manifest("separate/{separator}"), separator=SEPARATORS, allow_missing=True),
    output:
        manifest=made("fuse"),
    log:
        log_of("fuse"),
    priority: 1
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        **needs(needed.STAGES["fuse"]),
    params:
        store=STORE,
        cfg=cfg_json("fuse"),
        code=code("stages.fuse"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer fuse {input.manifests:q} {output.manifest:q} --config {params.cfg:q}'
        " --store {params.store:q} 2>&1 | tee {log:q}"


rule denoise:
    input:
        manifest=manifest("fuse"),
        model=model_json(CFG.denoise.model) if CFG.denoise.model else [],
    output:
        manifest=made("denoise"),
    log:
        log_of("denoise"),
    priority: 2
    conda:
        "../envs/audiorestorer.yaml"
    threads: NETWORK_THREADS
    resources:
        **needs(model_cost(CFG.denoise.model) if CFG.denoise.model else needed.NO_NETWORK),
        gpu=USE_GPU if CFG.denoise.model else 0,
    params:
        store=STORE,
        cfg=cfg_json("denoise"),
        code=network_code("denoise", CFG.denoise.model) if CFG.denoise.model else code("stages.denoise"),
        model=f"--model={model_json(CFG.denoise.model)}" if CFG.denoise.model else [],
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer denoise {input.manifest:q} {output.manifest:q} --config {params.cfg:q}'
        " {params.model:q} --store {params.store:q} --device {params.device:q} --threads {threads} 2>&1 | tee {log:q}"


rule postmask:
    input:
        manifest=manifest("denoise"),
    output:
        manifest=made("postmask"),
    log:
        log_of("postmask"),
    priority: 3
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        **needs(needed.STAGES["postmask"]),
    params:
        store=STORE,
        cfg=cfg_json("postmask"),
        code=code("stages.postmask"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer postmask {input.manifest:q} {output.manifest:q} --config {params.cfg:q}'
        " --store {params.store:q} 2>&1 | tee {log:q}"


rule enhance:
    input:
        manifest=manifest("postmask"),
        model=model_json(CFG.enhance.model),
        recogniser=model_json(ENHANCE_RECOGNISER) if ENHANCE_RECOGNISER else [],
    output:
        manifest=made("enhance"),
    log:
        log_of("enhance"),
    priority: 4
    conda:
        "../envs/audiorestorer.yaml"
    threads: NETWORK_THREADS
    resources:
        **needs(lambda wildcards: model_cost(CFG.enhance.model)),
        gpu=USE_GPU,
    params:
        store=STORE,
        cfg=cfg_json("enhance"),
        code=code("stages.enhance", *ENHANCE_MODULES),
        recogniser=lambda wildcards, input: [f"--recogniser={input.recogniser}"] if input.recogniser else [],
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer enhance {input.manifest:q} {output.manifest:q} --config {params.cfg:q}'
        " --model {input.model:q} {params.recogniser:q} --store {params.store:q} --device {params.device:q}"
        " --threads {threads} 2>&1 | tee {log:q}"


rule loudness:
    input:
        manifest=manifest("enhance" if CFG.enhance.enabled else "postmask"),
    output:
        manifest=ensure(manifest("loudness"), non_empty=True),
    log:
        log_of("loudness"),
    priority: 5
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        **needs(needed.STAGES["loudness"]),
    params:
        store=STORE,
        cfg=cfg_json("loudness"),
        code=code("stages.loudness"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer loudness {input.manifest:q} {output.manifest:q} --config {params.cfg:q}'
        " --store {params.store:q} 2>&1 | tee {log:q}"
