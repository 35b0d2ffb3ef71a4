# Needs: nothing (stems and noises are generated), or your own: --config 'training={stems: STEMS, noises: NOISES, experiment: FILE}'.
# Makes: the training half from end to end, with its report: `snakemake training`, then
# `snakemake training --report artifacts/report/training_report.html`. Not part of `all`.

STEMS = CFG.training.stems or f"{TRAINING}/data/stems"
NOISES = CFG.training.noises or f"{TRAINING}/data/noise"
NOISY = CFG.training.noisy or f"{TRAINING}/data/pairs/noisy"
CLEAN = CFG.training.clean if CFG.training.noisy else f"{TRAINING}/data/pairs/clean"
SAMPLE_RATE = experiment_rate(CFG.training.experiment)
GENERATED = [] if CFG.training.stems and CFG.training.noises and CFG.training.noisy else [f"{TRAINING}/data/index.json"]


rule training:
    input:
        f"{TRAINING}/training.html",
        f"{TRAINING}/sanity.html",
        f"{TRAINING}/models.yaml",
        [f"{TRAINING}/degradation.png"] if CFG.training.real else [],


rule generate_data:
    output:
        index=f"{TRAINING}/data/index.json",
    log:
        f"{ART}/logs/training/generate_data.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output.index),
        code=code_digest("datasets.generated"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer generate-data --out {params.folder:q} 2>&1 | tee {log:q}'


rule audit_stems:
    input:
        GENERATED,
    output:
        csv=f"{TRAINING}/audit.csv",
        json=f"{TRAINING}/audit.json",
        figure=f"{TRAINING}/audit.png",
    log:
        f"{ART}/logs/training/audit_stems.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        root=as_is(STEMS),
        tol=CFG.training.tol_db,
        code=code_digest("stages.training.audit_stems"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer audit-stems --root {params.root:q} --tol-db {params.tol} --csv {output.csv:q}'
        " --figure {output.figure:q} 2>&1 | tee {log:q}"


rule filter_noise:
    input:
        GENERATED,
    output:
        manifest=f"{TRAINING}/noise.jsonl",
        csv=f"{TRAINING}/noise.csv",
        json=f"{TRAINING}/noise.json",
        figure=f"{TRAINING}/noise.png",
    log:
        f"{ART}/logs/training/filter_noise.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        root=as_is(NOISES),
        code=code_digest("stages.training.filter_noise"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer filter-noise --root {params.root:q} --out {output.manifest:q} --csv {output.csv:q}'
        " --figure {output.figure:q} 2>&1 | tee {log:q}"


# Part of `training` where training.real is set, and of `ablation`: without it, of the ablation's stand-ins for real recordings.
rule analyse_degradation:
    input:
        [] if CFG.training.real else [f"{ABLATION}/data/real.jsonl"],
    output:
        csv=f"{TRAINING}/degradation.csv",
        json=f"{TRAINING}/degradation.json",
        figure=report(
            f"{TRAINING}/degradation.png",
            caption="../report/captions/training.rst",
            category="Training",
            labels={"view": "degradations of the real recordings (figure)"},
        ),
    log:
        f"{ART}/logs/training/analyse_degradation.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        real=as_is(CFG.training.real or f"{ABLATION}/data/real.jsonl"),
        code=code_digest("stages.ablation.analyse_degradation"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer analyse-degradation --out-csv {output.csv:q} --out-json {output.json:q}'
        " --figure {output.figure:q} -- {params.real:q} 2>&1 | tee {log:q}"


rule build_manifest:
    input:
        GENERATED,
        audit=f"{TRAINING}/audit.csv",
    output:
        manifest=f"{TRAINING}/train.jsonl",
        json=f"{TRAINING}/train.json",
    log:
        f"{ART}/logs/training/build_manifest.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        root=as_is(STEMS),
        speakers=[] if CFG.training.stems else ["--speakers", f"{TRAINING}/data/speakers.json"],
        target=CFG.training.target,
        code=code_digest("stages.training.build_manifest"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer build-manifest --root {params.root:q} --out {output.manifest:q} --audit {input.audit:q}'
        " --target {params.target:q} {params.speakers:q} 2>&1 | tee {log:q}"


rule sanity_suite:
    input:
        manifest=f"{TRAINING}/train.jsonl",
        noise=f"{TRAINING}/noise.jsonl",
    output:
        json=f"{TRAINING}/sanity.json",
        html=report(
            f"{TRAINING}/sanity.html",
            caption="../report/captions/training.rst",
            category="Training",
            labels={"view": "sanity checks"},
        ),
    log:
        f"{ART}/logs/training/sanity_suite.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: all_threads()
    params:
        rate=SAMPLE_RATE,
        code=code_digest("stages.training.sanity_suite"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer sanity-suite --manifest {input.manifest:q} --noise {input.noise:q} --sr {params.rate}'
        " --json {output.json:q} --html {output.html:q} --threads {threads} 2>&1 | tee {log:q}"


rule train_denoiser:
    input:
        manifest=f"{TRAINING}/train.jsonl",
        noise=f"{TRAINING}/noise.jsonl",
        config=located(CFG.training.experiment),
    output:
        model=f"{TRAINING}/model.safetensors",
        json=f"{TRAINING}/model.json",
    log:
        f"{ART}/logs/training/train.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: all_threads()
    resources:
        **growing(mem_mb=4000, runtime=120),
        gpu=gpus,
    params:
        work=f"{ART}/runs",
        real=as_is(["--real", CFG.training.real] if CFG.training.real else []),
        code=code_digest("training.fit"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer train --config {input.config:q} --manifest {input.manifest:q} --noise {input.noise:q} {params.real:q}'
        " --out {output.model:q} --work {params.work:q} --threads {threads} 2>&1 | tee {log:q}"


rule diagnose:
    input:
        model=f"{TRAINING}/model.json",
    output:
        table=f"{TRAINING}/triad_diagnostics.csv",
        summary=f"{TRAINING}/triad_summary.csv",
        learning=f"{TRAINING}/learning_summary.csv",
        figure=report(
            f"{TRAINING}/triads.png",
            caption="../report/captions/training.rst",
            category="Training",
            labels={"view": "trends over epochs (figure)"},
        ),
    log:
        f"{ART}/logs/training/diagnose.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output.table),
        code=code_digest("stages.training.triad_diagnostics", "stages.training.learning_from_audio_debug"),
    shell:
        '(sh "$AUDIORESTORER_PYTHON" -m audiorestorer triad-diagnostics --root {input.model:q} --write-csv --summary-csv --out {params.folder:q}'
        ' --figure {output.figure:q} && sh "$AUDIORESTORER_PYTHON" -m audiorestorer learning-from-audio-debug --root {input.model:q} --write-csv'
        " --out {params.folder:q} --measured {output.table:q}) 2>&1 | tee {log:q}"


rule infer_batch:
    input:
        GENERATED,
        model=f"{TRAINING}/model.safetensors",
    output:
        csv=f"{TRAINING}/infer.csv",
    log:
        f"{ART}/logs/training/infer_batch.log",
    conda:
        "../envs/audiorestorer.yaml"
    resources:
        gpu=gpus,
    params:
        noisy=as_is(NOISY),
        clean=as_is(["--clean", CLEAN] if CLEAN else []),
        folder=f"{TRAINING}/inferred",
        store=STORE,
        device=CFG.device,
        code=code_digest("stages.training.infer_batch"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer infer-batch --in {params.noisy:q} {params.clean:q} --checkpoint {input.model:q}'
        " --out {params.folder:q} --metrics {output.csv:q} --store {params.store:q} --device {params.device:q} --threads {threads} 2>&1 | tee {log:q}"


rule export_onnx:
    input:
        model=f"{TRAINING}/model.safetensors",
    output:
        onnx=f"{TRAINING}/onnx.onnx",
        json=f"{TRAINING}/onnx.json",
    log:
        f"{ART}/logs/training/export_onnx.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        code=code_digest("stages.training.export_onnx"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer export-onnx --checkpoint {input.model:q} --out {output.onnx:q} 2>&1 | tee {log:q}'


rule profile_infer:
    input:
        model=f"{TRAINING}/model.safetensors",
    output:
        json=f"{TRAINING}/profile.json",
        figure=f"{TRAINING}/profile.png",
    log:
        f"{ART}/logs/training/profile_infer.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: all_threads()
    params:
        code=code_digest("stages.training.profile_infer"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer profile-infer --checkpoint {input.model:q} --out {output.json:q} --figure {output.figure:q}'
        " --runs 10 --secs 5 2>&1 | tee {log:q}"


rule register_model:
    input:
        model=f"{TRAINING}/model.safetensors",
    output:
        registry=f"{TRAINING}/models.yaml",
    log:
        f"{ART}/logs/training/register_model.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        name=CFG.training.name,
        code=code_digest("stages.training.register_model"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer register-model --checkpoint {input.model:q} --name {params.name:q}'
        " --registry {output.registry:q} 2>&1 | tee {log:q}"


rule training_report:
    input:
        f"{TRAINING}/train.json",
        f"{TRAINING}/learning_summary.csv",
        f"{TRAINING}/infer.csv",
        f"{TRAINING}/onnx.json",
        model=f"{TRAINING}/model.json",
        audit=f"{TRAINING}/audit.png",
        noise=f"{TRAINING}/noise.png",
        triads=f"{TRAINING}/triads.png",
        profile=f"{TRAINING}/profile.png",
    output:
        html=report(
            f"{TRAINING}/training.html",
            caption="../report/captions/training.rst",
            category="Training",
            labels={"view": "audit, noise, losses, triads, export, profile"},
        ),
    log:
        f"{ART}/logs/training/report.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, input: os.path.dirname(input.model),
        figures=json.dumps({name: f"{TRAINING}/{name}.png" for name in ("audit", "noise", "triads", "profile")}),
        code=code_digest("stages.training.training_report"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer training-report --folder {params.folder:q} --model {input.model:q} --out {output.html:q}'
        " --figures {params.figures:q} 2>&1 | tee {log:q}"
