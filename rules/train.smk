# Needs: espeak-ng, flite, festival, fluidsynth and the FluidR3 GM soundfont (Debian packages; see docs), and mido.
# Makes: the pilot models' training audio, the models and their figures on held-out voices and pieces. Not part of `all`.
# The committed models in models/pilot/ came from these rules; they are not overwritten: compare, then copy from artifacts/models/.

PILOT_MODELS = ["pilot_sep_a", "pilot_sep_b", "pilot_denoiser"]
EXPERIMENTS = f"{workflow.basedir}/config/experiments"


rule train_pilot:
    input:
        expand(f"{ART}/trained/{{network}}.json", network=PILOT_MODELS),


rule training_audio:
    output:
        index=f"{ART}/training_audio/index.jsonl",
    log:
        f"{ART}/logs/training_audio.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: 2
    params:
        script=f"{workflow.basedir}/scripts/make_training_audio.py",
        folder=lambda wildcards, output: os.path.dirname(output.index),
    shell:
        "python {params.script:q} --out {params.folder:q} --minutes-speech 120 --minutes-music 120 --seed 2"
        " --jobs {threads} 2>&1 | tee {log:q}"


# The checkpoints of an unfinished run lie in `work`, undeclared: Snakemake would delete them when a job is killed, and they are
# what the next attempt goes on from.
rule train_pilot_model:
    input:
        data=f"{ART}/training_audio/index.jsonl",
        config=f"{EXPERIMENTS}/{{network}}.yaml",
    output:
        model=protected(f"{ART}/trained/{{network}}.safetensors"),
    log:
        f"{ART}/logs/train/{{network}}.log",
    wildcard_constraints:
        network="|".join(PILOT_MODELS),
    conda:
        "../envs/audiorestorer.yaml"
    threads: 1
    resources:
        gpu=USE_GPU,
        mem_mb=4000,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        data=lambda wildcards, input: os.path.dirname(input.data),
        work=f"{ART}/runs",
        code=code("stages.train"),
    shell:
        "python -m audiorestorer train --config {input.config:q} --data {params.data:q} --out {output.model:q}"
        " --work {params.work:q} --threads {threads} 2>&1 | tee {log:q}"


rule evaluate_pilot_model:
    input:
        data=f"{ART}/training_audio/index.jsonl",
        model=f"{ART}/trained/{{network}}.safetensors",
    output:
        json=f"{ART}/trained/{{network}}.json",
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
        "python -m audiorestorer evaluate-model {input.model:q} --data {params.data:q} --out {output.json:q} 2>&1 | tee {log:q}"
