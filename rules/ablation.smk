# Needs: nothing but this repository; or training.real (a folder of real degraded recordings) and ablation.clean (one of clean ones).
# Makes: which training strategy helps on degraded recordings, by how much: one training a (row, seed), each with one thread and a
# checkpoint of its own, measured on degradations that no training draws from. `snakemake ablation`, then with
# `--report artifacts/report/ablation_report.html`. Full sizes: --configfile config/ablation_full.yaml. Not part of `all`.

ABLATION_ROWS = {row.name: row for row in CFG.ablation.rows}
ABLATION_RATE = experiment_rate(CFG.ablation.experiment)
CLASSICAL = ["input", "click_repair"]


wildcard_constraints:
    row="|".join(ABLATION_ROWS),
    method="|".join(CLASSICAL),
    seed=r"\d+",


rule ablation:
    input:
        f"{ABLATION}/ablation.html",
        f"{TRAINING}/degradation.png",


# Only with ablation.clean
rule ablation_manifest:
    output:
        manifest=f"{ABLATION}/clean.jsonl",
        json=f"{ABLATION}/clean.json",
    log:
        f"{ART}/logs/ablation/manifest.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        root=as_is(CFG.ablation.clean or "no-folder-in-ablation.clean"),
        code=code_digest("stages.training.build_manifest"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer build-manifest --root {params.root:q} --layout folder --shares 0.7 0.1 0.2'
        " --out {output.manifest:q} 2>&1 | tee {log:q}"


rule make_degraded:
    input:
        [f"{ABLATION}/clean.jsonl"] if CFG.ablation.clean else [],
    output:
        train=f"{ABLATION}/data/train.jsonl",
        real=f"{ABLATION}/data/real.jsonl",
        test=f"{ABLATION}/data/test.jsonl",
    log:
        f"{ART}/logs/ablation/make_degraded.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        clean=["--manifest", f"{ABLATION}/clean.jsonl"] if CFG.ablation.clean else ["--speech", located("data/pilot")],
        real=as_is(["--real", CFG.training.real] if CFG.training.real else []),
        folder=lambda wildcards, output: os.path.dirname(output.test),
        cfg=CFG.ablation.data.model_dump_json(),
        rate=ABLATION_RATE,
        code=code_digest("stages.ablation.make_degraded"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer make-degraded --out {params.folder:q} --config {params.cfg:q} {params.clean:q} {params.real:q}'
        " --sr {params.rate} 2>&1 | tee {log:q}"


# As of train_pilot_model: the checkpoints of an unfinished run lie in `work`, undeclared, and the next attempt goes on from them.
rule ablation_train:
    input:
        manifest=f"{ABLATION}/data/train.jsonl",
        real=f"{ABLATION}/data/real.jsonl",
        config=located(CFG.ablation.experiment),
    output:
        model=f"{ABLATION}/models/{{row}}.{{seed}}.safetensors",
        record=f"{ABLATION}/models/{{row}}.{{seed}}.json",
    log:
        f"{ART}/logs/ablation/train/{{row}}.{{seed}}.log",
    conda:
        "../envs/audiorestorer.yaml"
    threads: CFG.ablation.threads
    resources:
        **growing(mem_mb=4000, runtime=120),
        gpu=gpus,
    params:
        real=lambda wildcards, input: CFG.training.real or input.real,
        changes=lambda wildcards: json.dumps(
            {
                "name": f"ablation_{wildcards.row}",
                "seed": int(wildcards.seed),
                "steps": CFG.ablation.steps,
                "strategies": ABLATION_ROWS[wildcards.row].strategies,
            }
        ),
        work=f"{ART}/runs",
        code=code_digest("training.fit"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer train --config {input.config:q} --changes {params.changes:q} --manifest {input.manifest:q}'
        " --real {params.real:q} --out {output.model:q} --work {params.work:q} --threads {threads} 2>&1 | tee {log:q}"


rule evaluate_restorer:
    input:
        test=f"{ABLATION}/data/test.jsonl",
        model=f"{ABLATION}/models/{{row}}.{{seed}}.safetensors",
    output:
        json=f"{ABLATION}/results/{{row}}.{{seed}}.json",
    log:
        f"{ART}/logs/ablation/evaluate/{{row}}.{{seed}}.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        code=code_digest("stages.ablation.evaluate_restorer"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate-restorer {input.test:q} --checkpoint {input.model:q} --row {wildcards.row:q}'
        " --seed {wildcards.seed} --out {output.json:q} --threads {threads} 2>&1 | tee {log:q}"


rule evaluate_classical:
    input:
        test=f"{ABLATION}/data/test.jsonl",
    output:
        json=f"{ABLATION}/results/{{method}}.json",
    log:
        f"{ART}/logs/ablation/evaluate/{{method}}.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        code=code_digest("stages.ablation.evaluate_restorer"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer evaluate-restorer {input.test:q} --method {wildcards.method:q} --out {output.json:q}'
        " --threads {threads} 2>&1 | tee {log:q}"


rule ablation_report:
    input:
        results=[
            *expand(f"{ABLATION}/results/{{method}}.json", method=CLASSICAL),
            *expand(f"{ABLATION}/results/{{row}}.{{seed}}.json", row=ABLATION_ROWS, seed=CFG.ablation.seeds),
        ],
        records=expand(f"{ABLATION}/models/{{row}}.{{seed}}.json", row=ABLATION_ROWS, seed=CFG.ablation.seeds),
    output:
        html=report(
            f"{ABLATION}/ablation.html",
            caption="../report/captions/ablation.rst",
            category="Ablation",
            labels={"view": "strategies against the baseline: table and figures"},
        ),
        csv=report(
            f"{ABLATION}/ablation.csv",
            caption="../report/captions/ablation.rst",
            category="Ablation",
            labels={"view": "strategies against the baseline: every number (table to download)"},
        ),
        json=f"{ABLATION}/ablation.json",
        metrics=report(
            f"{ABLATION}/metrics.png",
            caption="../report/captions/ablation.rst",
            category="Ablation",
            labels={"view": "metrics by row, with the seeds' spread (figure)"},
        ),
        differences=report(
            f"{ABLATION}/differences.png",
            caption="../report/captions/ablation.rst",
            category="Ablation",
            labels={"view": "differences to the baseline, with intervals (figure)"},
        ),
        curves=report(
            f"{ABLATION}/curves.png",
            caption="../report/captions/ablation.rst",
            category="Ablation",
            labels={"view": "training curves: supervised and consistency (figure)"},
        ),
    log:
        f"{ART}/logs/ablation/report.log",
    conda:
        "../envs/audiorestorer.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output.html),
        records=lambda wildcards, input: [f"--record={path}" for path in input.records],
        baseline=CFG.ablation.baseline,
        cfg=as_is(FLOW.section_json("ablation")),
        code=code_digest("stages.ablation.ablation_report"),
    shell:
        'sh "$AUDIORESTORER_PYTHON" -m audiorestorer ablation-report {input.results:q} {params.records:q} --out {params.folder:q}'
        " --baseline {params.baseline:q} --settings {params.cfg:q} 2>&1 | tee {log:q}"
