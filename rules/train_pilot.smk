# Needs Debian packages: espeak-ng, flite, festival, rhvoice and libttspico-utils (non-free) with the voices that
# scripts/audio/synth_speech.py names, fluidsynth, fluid-soundfont-gm, ffmpeg; apt-get, for the recordings.
# Makes: the pilot models' training audio, the models and their figures on held-out voices and pieces, and on others the fusion networks
# and the extension network.
# Not part of `all`.
# The committed models in models/pilot/ came from these rules; they are not overwritten: compare, then copy from artifacts/trained/.

PILOT_MODELS = ["pilot_sep_a", "pilot_sep_b", "pilot_denoiser"]
FUSION_MODELS = ["pilot_fusion", "pilot_fusion_own"]
EXTENSION = "pilot_extension"
# a training that begins with the weights of another one
BEGINNING = {"pilot_sep_a": "pilot_sep_a_middle", "pilot_sep_a_middle": "pilot_sep_a_begin"}
FUSION_BEGINNING = {name: f"{name}_begin" for name in FUSION_MODELS}
FUSION_NETWORKS = [*FUSION_MODELS, *FUSION_BEGINNING.values()]
# what make_training_audio.py makes of each set of recordings
TRAINING_MINUTES = {
    "separators": "--minutes-speech 200 --minutes-music 120 --seed 5 --minutes-prompts 240 --minutes-tracks 220 --minutes-sounds 30".split(),
    "fusion": "--minutes-speech 25 --minutes-music 50 --seed 21 --minutes-prompts 100 --minutes-tracks 80 --minutes-sounds 25".split(),
    "voices": "--rate 44100 --seed 31 --minutes-speech 0 --minutes-music 0 --minutes-prompts 170 --minutes-tracks 0 --minutes-sounds 0".split(),
}
FUSION_PARTS = 2  # jobs that make its examples


rule train_pilot:
    input:
        expand(f"{ART}/trained/{{network}}.figures.json", network=PILOT_MODELS),
        expand(f"{ART}/trained/{{network}}.safetensors", network=[*FUSION_MODELS, EXTENSION]),


# `recordings`: those that the separators heard, and for the fusion network others (scripts/audio/free_recordings.py).
rule free_recordings:
    output:
        folder=temp(directory(f"{ART}/free_recordings/{{recordings}}")),
    log:
        f"{ART}/logs/free_recordings/{{recordings}}.log",
    wildcard_constraints:
        recordings="|".join(TRAINING_MINUTES),
    conda:
        "../envs/audiorestorer.yaml"
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m scripts.audio.free_recordings --out {output.folder:q} --set {wildcards.recordings:q} 2>&1 | tee {log:q}'


# One file, so that folders can share it (SNAKEMAKE_OUTPUT_CACHE and --cache); it goes once it is unpacked.
rule training_audio:
    input:
        recordings=f"{ART}/free_recordings/{{recordings}}",
    output:
        archive=temp(f"{ART}/training_audio/{{recordings}}.tar"),
    log:
        f"{ART}/logs/training_audio/{{recordings}}.log",
    wildcard_constraints:
        recordings="|".join(TRAINING_MINUTES),
    cache: CACHING
    conda:
        "../envs/audiorestorer.yaml"
    threads: 2
    params:
        folder=lambda wildcards, output: os.path.splitext(output.archive)[0],
        minutes=lambda wildcards: TRAINING_MINUTES[wildcards.recordings],
        code=[
            sha256_file(f"{ROOT}/scripts/audio/{name}.py")
            for name in ("make_training_audio", "free_recordings", "synth_music", "synth_speech")
            if HOUSE == ROOT  # an installed package carries no scripts (`check_installed` says so)
        ],
    shell:
        '(sh "$AUDIORESTORER_PYTHON" -m scripts.audio.make_training_audio --out {params.folder:q} {params.minutes:q}'
        " --set {wildcards.recordings:q} --recordings {input.recordings:q} --jobs {threads}"
        " && tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C {params.folder:q} -cf {output.archive:q} ."
        ") 2>&1 | tee {log:q}"


rule unpack_training_audio:
    input:
        archive=f"{ART}/training_audio/{{recordings}}.tar",
    output:
        index=f"{ART}/training_audio/{{recordings}}/index.jsonl",
    log:
        f"{ART}/logs/unpack_training_audio/{{recordings}}.log",
    wildcard_constraints:
        recordings="|".join(TRAINING_MINUTES),
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
        data=f"{ART}/training_audio/separators/index.jsonl",
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
    threads: lambda wildcards: experiment(wildcards.network).get("devices", 1)
    resources:
        **growing(mem_mb=4000, runtime=120),
        gpu=gpus,
    params:
        data=lambda wildcards, input: os.path.dirname(input.data),
        work=f"{ART}/runs",
        changes=lambda wildcards, input: json.dumps({"initial": str(input.initial)} if input.initial else {}),
        code=code_digest("training.fit"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer train --config {input.config:q} --data {params.data:q} --out {output.model:q}'
        " --changes {params.changes:q} --work {params.work:q} --threads 1 2>&1 | tee {log:q}"


rule evaluate_pilot_model:
    input:
        data=f"{ART}/training_audio/separators/index.jsonl",
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
        code=code_digest("stages.training.evaluate_model"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate-model {input.model:q} --data {params.data:q} --out {output.json:q} 2>&1 | tee {log:q}'


# The examples are undeclared files of one folder: a killed job goes on where it was.
rule fusion_examples:
    input:
        data=f"{ART}/training_audio/fusion/index.jsonl",
        models=lambda wildcards: [model_json(name) for name in experiment(wildcards.network)["sources"]],
        config=f"{EXPERIMENTS}/{{network}}.yaml",
    output:
        done=touch(f"{ART}/fusion_examples/{{network}}/{{part}}.done"),
    log:
        f"{ART}/logs/fusion_examples/{{network}}/{{part}}.log",
    wildcard_constraints:
        network="|".join(FUSION_NETWORKS),
        part=r"\d",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        data=lambda wildcards, input: os.path.dirname(input.data),
        models=lambda wildcards, input: [f"--model={path}" for path in input.models],
        folder=lambda wildcards, output: os.path.dirname(output.done),
        parts=FUSION_PARTS,
        code=code_digest("training.fusion_examples"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer fusion-examples --config {input.config:q} --data {params.data:q} {params.models:q}'
        " --out {params.folder:q} --part {wildcards.part:q} --of {params.parts:q} 2>&1 | tee {log:q}"


rule train_pilot_fusion:
    input:
        parts=expand(f"{ART}/fusion_examples/{{{{network}}}}/{{part}}.done", part=range(FUSION_PARTS)),
        config=f"{EXPERIMENTS}/{{network}}.yaml",
        initial=lambda wildcards: (
            [f"{ART}/trained/{FUSION_BEGINNING[wildcards.network]}.safetensors"]
            if wildcards.network in FUSION_BEGINNING
            else []
        ),
    output:
        model=protected(f"{ART}/trained/{{network}}.safetensors"),
        record=f"{ART}/trained/{{network}}.json",
    log:
        f"{ART}/logs/train/{{network}}.log",
    wildcard_constraints:
        network="|".join(FUSION_NETWORKS),
    conda:
        "../envs/audiorestorer.yaml"
    threads: lambda wildcards: experiment(wildcards.network)["threads"]
    resources:
        **growing(mem_mb=4000, runtime=120),
    params:
        folder=lambda wildcards, input: os.path.dirname(input.parts[0]),
        work=f"{ART}/runs",
        changes=lambda wildcards, input: json.dumps({"initial": str(input.initial)} if input.initial else {}),
        code=code_digest("training.fusion"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer train-fusion --config {input.config:q} --examples {params.folder:q}'
        " --out {output.model:q} --changes {params.changes:q} --work {params.work:q} --threads {threads} 2>&1 | tee {log:q}"


rule train_pilot_extension:
    input:
        data=f"{ART}/training_audio/voices/index.jsonl",
        config=f"{EXPERIMENTS}/{EXTENSION}.yaml",
    output:
        model=protected(f"{ART}/trained/{EXTENSION}.safetensors"),
        record=f"{ART}/trained/{EXTENSION}.json",
    log:
        f"{ART}/logs/train/{EXTENSION}.log",
    cache: CACHING
    conda:
        "../envs/audiorestorer.yaml"
    threads: 1
    resources:
        **growing(mem_mb=4000, runtime=180),
    params:
        data=lambda wildcards, input: os.path.dirname(input.data),
        work=f"{ART}/runs",
        code=code_digest("training.extension"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer train-extension --config {input.config:q} --data {params.data:q} --out {output.model:q}'
        " --work {params.work:q} --threads 1 2>&1 | tee {log:q}"
