"""Commands about real degraded recordings: their analysis, and the ablation of the training strategies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from audiorestorer.commands import options as opt
from audiorestorer.commands.options import READ, WRITTEN, argument, commands_of, json_object, option, section, stage
from audiorestorer.config import AblationDataSettings

app = typer.Typer()
command = commands_of(app, "Training")


def make_degraded(config: AblationDataSettings, **values: Any) -> None:
    stage("ablation.make_degraded").run(settings=config, **values)


def ablation_report(settings: str | None, **values: Any) -> None:
    kept = json.dumps(json_object(settings, "--settings")) if settings else None
    stage("ablation.ablation_report").run(settings=kept, **values)


command("analyse-degradation", "ablation.analyse_degradation")(
    "Say what is wrong with real recordings: impulses, noise, bandwidth, hum and wow, each with a confidence.",
    sources=argument(list[Path], "IN", "Degraded recordings: folders, files, manifests.", role=READ),
    out_csv=option(Path, "Table with a row per recording.", Path("degradation.csv"), role=WRITTEN),
    out_json=option(Path, "The rows, and the settings that follow from them.", Path("degradation.json"), role=WRITTEN),
    clean=option(
        Path | None, "Clean recordings of the same kind: their rate of impulses is subtracted.", None, role=READ
    ),
    figure=opt.FIGURE,
)
command("make-degraded", make_degraded)(
    "Make the ablation's recordings: to train on, stand-ins of real ones, degraded test items.",
    out=option(Path, "Folder to write.", role=WRITTEN),
    config=section(AblationDataSettings, "The section ablation.data: a YAML file, or inline JSON.", "{}"),
    speech=option(Path | None, "Folder with clean/ and transcripts.tsv; music tracks are generated.", None, role=READ),
    manifest=option(Path | None, "Training manifest with train, valid and test, instead of --speech.", None, role=READ),
    real=option(Path | None, "Real degraded recordings; with them no stand-ins are made.", None, role=READ),
    sample_rate=option(int, "Sample rate in Hz.", 22050, "--sr", min=8000, max=96000),
)
command("evaluate-restorer", "ablation.evaluate_restorer")(
    "Measure a restorer on degraded items: SI-SDR, LSD, composite, impulse removal, transient preservation.",
    manifest=argument(Path, "TEST_MANIFEST", "The test.jsonl of make-degraded.", role=READ),
    out_json=option(Path, "JSON file to write.", ..., "--out", role=WRITTEN),
    checkpoint=opt.CHECKPOINT._replace(kind=Path | None, default=None),
    method=option(str | None, "Instead of a checkpoint: input (unchanged) or click_repair (autoregressive).", None),
    row=option(str | None, "Name in the table.", None),
    seed=option(int | None, "Seed of the training.", None),
    threads=opt.THREADS,
)
command("ablation-report", ablation_report)(
    "Write the ablation's table with spreads, intervals and relative gains, its figures and its page.",
    results=argument(list[Path], "RESULTS", "JSON files of evaluate-restorer."),
    out=option(Path, "Folder of ablation.json, .csv, .html and the figures."),
    baseline=option(str, "The row that all others are compared with.", "baseline"),
    records=option(list[Path], "JSON file that train wrote, ROW.SEED.json; one per training.", [], "--record"),
    settings=option(str | None, "JSON object to keep in the result.", None),
)
