# Needs: nothing (it generates its data), or a folder with fg/, bg/ and rir/ (`--config enhancer_training='{data: DIR}'`).
# Makes: the enhancer, in three trainings of which each goes on from the one before, one file of their parts, and what it makes of the pilot's
# recordings, to listen to.

ENHANCER = f"{ART}/enhancer"
ENHANCER_DATA = CFG.enhancer_training.data or f"{ENHANCER}/data"
ENHANCER_EXPERIMENTS = {
    "denoiser": located(CFG.enhancer_training.denoiser),
    "stage1": located(CFG.enhancer_training.stage1),
    "stage2": located(CFG.enhancer_training.stage2),
}
ENHANCER_NFE = 16  # a look at what was trained; `enhance-folder` takes 64
ENHANCER_BEFORE = {"denoiser": [], "stage1": ["denoiser"], "stage2": ["denoiser", "stage1"]}


rule enhancer:
    input:
        f"{ENHANCER}/enhancer.safetensors",
        f"{ENHANCER}/enhanced/enhance.jsonl",


rule generate_enhancement_data:
    output:
        index=f"{ENHANCER}/data/index.json",
    log:
        f"{ART}/logs/enhancer/data.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output.index),
        code=code_digest("datasets.enhancement.generated_folder"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer generate-enhancement-data --out {params.folder:q} 2>&1 | tee {log:q}'


# The checkpoints of an unfinished run lie in `work`, undeclared, as those of `train_pilot_model`.
rule train_enhancer:
    input:
        [] if CFG.enhancer_training.data else f"{ENHANCER}/data/index.json",
        config=lambda wildcards: ENHANCER_EXPERIMENTS[wildcards.part],
        previous=lambda wildcards: [f"{ENHANCER}/{part}.safetensors" for part in ENHANCER_BEFORE[wildcards.part]],
    output:
        model=f"{ENHANCER}/{{part}}.safetensors",
        record=f"{ENHANCER}/{{part}}.json",
    log:
        f"{ART}/logs/enhancer/{{part}}.log",
    wildcard_constraints:
        part="|".join(ENHANCER_EXPERIMENTS),
    conda:
        "../envs/audiorestorer.yaml"
    threads: all_threads()
    resources:
        **growing(mem_mb=4000, runtime=120),
        gpu=gpus,
    params:
        data=as_is(ENHANCER_DATA),
        previous=lambda wildcards, input: [word for path in input.previous for word in ("--previous", path)],
        work=f"{ART}/runs",
        code=code_digest("training.enhancer.fit"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer train-enhancer --config {input.config:q} --data {params.data:q} {params.previous:q}'
        " --out {output.model:q} --work {params.work:q} --threads {threads} 2>&1 | tee {log:q}"


rule join_enhancer:
    input:
        expand(f"{ENHANCER}/{{part}}.safetensors", part=ENHANCER_EXPERIMENTS),
    output:
        model=f"{ENHANCER}/enhancer.safetensors",
    log:
        f"{ART}/logs/enhancer/join.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        code=code_digest("models.enhancer.checkpoint"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer join-enhancer {input:q} --out {output.model:q} 2>&1 | tee {log:q}'


rule enhance_by_trained:
    input:
        model=f"{ENHANCER}/enhancer.safetensors",
    output:
        rows=f"{ENHANCER}/enhanced/enhance.jsonl",
    log:
        f"{ART}/logs/enhancer/enhance.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: all_threads()
    resources:
        **growing(mem_mb=2000, runtime=60),
        gpu=gpus,
    params:
        recordings=as_is(located("data/pilot/input")),
        folder=lambda wildcards, output: os.path.dirname(output.rows),
        nfe=ENHANCER_NFE,
        store=as_is(STORE),
        code=code_digest("stages.enhance"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer enhance-folder {params.recordings:q} {params.folder:q} --checkpoint {input.model:q} --nfe {params.nfe} --no-gate'
        " --store {params.store:q} --threads {threads} 2>&1 | tee {log:q}"


# Not part of `all`: it measures the model on degraded versions of the clean references, not the batch.
rule enhancer_quality:
    input:
        **{option: model_json(name) for option, name in FLOW.enhancer_models().items()},
        denoiser=model_json("pilot_denoiser"),
    output:
        multiext(f"{ART}/enhancer/quality", ".json", ".csv", ".md"),
    log:
        f"{ART}/logs/enhancer_quality.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: NETWORK_THREADS
    resources:
        **growing(mem_mb=4000, runtime=480),
        gpu=gpus,
    params:
        speech=lambda wildcards: or_stop(FLOW.clean_speech),
        listing=LISTING,
        out=lambda wildcards, output: os.path.dirname(output[0]),
        transcripts=lambda wildcards: [f"--transcripts={path}" for path in pairs.companions(CFG)[1:] if path],
        cfg=CFG.enhance.model_dump_json(exclude={"enabled"}),
        own=lambda wildcards, input: [f"--own-denoiser={path}" for path in [input.get("own")] if path],
        code=code_digest("stages.training.evaluate_enhancer", "metrics.recognisers.pocketsphinx"),
        store=STORE,
        device=CFG.device,
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate-enhancer {params.speech:q} --out {params.out:q} --checkpoint {input.model:q}'
        " --denoiser {input.denoiser:q} {params.own:q} {params.transcripts:q} --config {params.cfg:q} --limit 24 --store {params.store:q}"
        " --device {params.device:q} --threads {threads} 2>&1 | tee {log:q}"
