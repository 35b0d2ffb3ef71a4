# Needs Debian packages: espeak-ng, flite, festival, rhvoice and libttspico-utils (non-free) with the voices that
# scripts/synth_speech.py names, fluidsynth, fluid-soundfont-gm, ffmpeg; apt-get, for the recordings.
# Makes: the pilot models' training audio, the models and their figures on held-out voices and pieces. Not part of `all`.
# The committed models in models/pilot/ came from these rules; they are not overwritten: compare, then copy from artifacts/trained/.

PILOT_MODELS = ["pilot_sep_a", "pilot_sep_b", "pilot_denoiser"]
# a training that begins with the weights of another one
BEGINNING = {"pilot_sep_a": "pilot_sep_a_middle", "pilot_sep_a_middle": "pilot_sep_a_begin"}
EXPERIMENTS = f"{ROOT}/config/experiments"


rule train_pilot:
    input:
        expand(f"{ART}/trained/{{network}}.figures.json", network=PILOT_MODELS),


rule free_recordings:
    output:
        folder=temp(directory(f"{ART}/free_recordings")),
    log:
        f"{ART}/logs/free_recordings.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        script=f"{ROOT}/scripts/free_recordings.py",
    shell:
        'sh "$AUDIORESTORER_PYTHON" {params.script:q} --out {output.folder:q} 2>&1 | tee {log:q}'


# One file, so that folders can share it (SNAKEMAKE_OUTPUT_CACHE and --cache); it goes once it is unpacked.
rule training_audio:
    input:
        recordings=f"{ART}/free_recordings",
    output:
        archive=temp(f"{ART}/training_audio.tar"),
    log:
        f"{ART}/logs/training_audio.log",
    cache: CACHING
    conda:
        "../envs/audiorestorer.yaml"
    threads: 2
    params:
        script=f"{ROOT}/scripts/make_training_audio.py",
        folder=lambda wildcards, output: os.path.splitext(output.archive)[0],
        code=[
            sha256_file(f"{ROOT}/scripts/{name}.py")
            for name in ("make_training_audio", "free_recordings", "synth_music", "synth_speech")
        ],
    shell:
        '(sh "$AUDIORESTORER_PYTHON" {params.script:q} --out {params.folder:q} --minutes-speech 200 --minutes-music 120 --seed 5'
        " --recordings {input.recordings:q} --minutes-prompts 240 --minutes-tracks 220 --minutes-sounds 30 --jobs {threads}"
        " && tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C {params.folder:q} -cf {output.archive:q} ."
        ") 2>&1 | tee {log:q}"


rule unpack_training_audio:
    input:
        archive=f"{ART}/training_audio.tar",
    output:
        index=f"{ART}/training_audio/index.jsonl",
    log:
        f"{ART}/logs/unpack_training_audio.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output.index),
    shell:
        "tar --skip-old-files --touch -C {params.folder:q} -xf {input.archive:q} 2>&1 | tee {log:q}"


# The checkpoints of an unfinished run lie in `work`, undeclared: Snakemake would delete them when a job is killed, and they are
# what the next attempt goes on from.
rule train_pilot_model:
    input:
        data=f"{ART}/training_audio/index.jsonl",
        config=f"{EXPERIMENTS}/{{network}}.yaml",
        initial=lambda wildcards: (
            [f"{ART}/trained/{BEGINNING[wildcards.network]}.safetensors"] if wildcards.network in BEGINNING else []
        ),
    output:
        model=protected(f"{ART}/trained/{{network}}.safetensors"),
        record=f"{ART}/trained/{{network}}.json",
    log:
        f"{ART}/logs/train/{{network}}.log",
    wildcard_constraints:
        network="|".join([*PILOT_MODELS, *BEGINNING.values()]),
    cache: CACHING
    conda:
        "../envs/audiorestorer.yaml"
    threads: lambda wildcards: or_stop(settings.read_yaml, f"{EXPERIMENTS}/{wildcards.network}.yaml").get("devices", 1)
    resources:
        **growing(mem_mb=4000, runtime=120),
        gpu=USE_GPU,
    params:
        data=lambda wildcards, input: os.path.dirname(input.data),
        work=f"{ART}/runs",
        changes=lambda wildcards, input: json.dumps({"initial": str(input.initial)} if input.initial else {}),
        code=code("stages.train"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer train --config {input.config:q} --data {params.data:q} --out {output.model:q}'
        " --changes {params.changes:q} --work {params.work:q} --threads 1 2>&1 | tee {log:q}"


rule evaluate_pilot_model:
    input:
        data=f"{ART}/training_audio/index.jsonl",
        model=f"{ART}/trained/{{network}}.safetensors",
    output:
        json=f"{ART}/trained/{{network}}.figures.json",
    log:
        f"{ART}/logs/evaluate_model/{{network}}.log",
    wildcard_constraints:
        network="|".join(PILOT_MODELS),
    conda:
        "../envs/audiorestorer.yaml"
    params:
        data=lambda wildcards, input: os.path.dirname(input.data),
        code=code("stages.evaluate_model"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate-model {input.model:q} --data {params.data:q} --out {output.json:q} 2>&1 | tee {log:q}'


# The training half from end to end, on stems and noises that it generates: `snakemake training`, then
# `snakemake training --report artifacts/report/training_report.html`. With your own: --config 'training={stems: STEMS, noises: NOISES, experiment: FILE}'.
TRAINING = f"{ART}/training"
ABLATION = f"{ART}/ablation"
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
        code=code("datasets.generated"),
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
        code=code("stages.audit_stems"),
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
        code=code("stages.filter_noise"),
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
            labels={"view": "degradations of the real recordings", "kind": "figure"},
        ),
    log:
        f"{ART}/logs/training/analyse_degradation.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        real=as_is(CFG.training.real or f"{ABLATION}/data/real.jsonl"),
        code=code("stages.analyse_degradation"),
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
        code=code("stages.build_manifest"),
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
            labels={"view": "sanity checks", "kind": "page"},
        ),
    log:
        f"{ART}/logs/training/sanity_suite.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: all_threads()
    params:
        rate=SAMPLE_RATE,
        code=code("stages.sanity_suite"),
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
        gpu=USE_GPU,
    params:
        work=f"{ART}/runs",
        real=as_is(["--real", CFG.training.real] if CFG.training.real else []),
        code=code("stages.train"),
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
            labels={"view": "trends over epochs", "kind": "figure"},
        ),
    log:
        f"{ART}/logs/training/diagnose.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output.table),
        code=code("stages.triad_diagnostics", "stages.learning_from_audio_debug"),
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
        gpu=USE_GPU,
    params:
        noisy=as_is(NOISY),
        clean=as_is(["--clean", CLEAN] if CLEAN else []),
        folder=f"{TRAINING}/inferred",
        device=CFG.device,
        code=code("stages.infer_batch"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer infer-batch --in {params.noisy:q} {params.clean:q} --checkpoint {input.model:q}'
        " --out {params.folder:q} --metrics {output.csv:q} --device {params.device:q} --threads {threads} 2>&1 | tee {log:q}"


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
        code=code("stages.export_onnx"),
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
        code=code("stages.profile_infer"),
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
        code=code("stages.register_model"),
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
            labels={"view": "audit, noise, losses, triads, export, profile", "kind": "page"},
        ),
    log:
        f"{ART}/logs/training/report.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, input: os.path.dirname(input.model),
        figures=json.dumps({name: f"{TRAINING}/{name}.png" for name in ("audit", "noise", "triads", "profile")}),
        code=code("stages.training_report"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer training-report --folder {params.folder:q} --model {input.model:q} --out {output.html:q}'
        " --figures {params.figures:q} 2>&1 | tee {log:q}"
