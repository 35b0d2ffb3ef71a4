"""The commands of the training half: data and its checks, trainings, and what is done with a trained network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from audiorestorer.commands import options as opt
from audiorestorer.commands.options import READ, WRITTEN, argument, commands_of, json_object, option, section, stage
from audiorestorer.config import EnhanceSettings, read_yaml
from audiorestorer.errors import AudioRestorerError
from audiorestorer.folders import keep_apart
from audiorestorer.memory import keep_freed_memory

app = typer.Typer()
command = commands_of(app, "Training")
ROOT = option(Path, "Folder of the recordings.", role=READ)
OUT = option(Path, "File to write.", role=WRITTEN)
OUT_FOLDER = option(Path, "Folder to write.")
NETWORK = option(
    Path | None, "Experiment file that the checkpoint's network is compared with.", None, "--config", role=READ
)
SEED = option(int, "Seed of everything that is drawn.", 1, min=0)
RATE = option(int, "Sample rate in Hz.", 22050, "--sr", min=8000)
WORK = option(Path, "Folder of the run folders: checkpoints and logs.", Path("artifacts/runs"), role=WRITTEN)
TRAIN_THREADS = option(int | None, "Threads, instead of as many as the experiment says.", None, min=1)
CHANGES = option(str | None, "Sections and keys that differ from the experiment file's, as JSON.", None)
TRIADS = option(Path, "Folder of triads, run folder, or the JSON file that train wrote.")
TABLES = option(Path | None, "Folder of the tables; the triads' own folder if left out.", None)


def alone_on_its_cores() -> None:
    """What a training does before it imports torch.

    OpenMP's threads wait actively for a short time: a training's rules claim all cores, and this halves the time of its steps, which
    have many small parallel regions. Jobs that share their cores must not spin at all (`__main__.main`).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    keep_freed_memory()


def audit_stems(strict: bool, **values: Any) -> None:
    totals = stage("training.audit_stems").run(**values)
    if strict and totals["failed"]:
        raise typer.Exit(1)


def filter_noise(config: Path | None, **values: Any) -> None:
    stage("training.filter_noise").run(settings=read_yaml(config) if config else None, **values)


def build_manifest(root: Path, out: Path, layout: str, render: Path | None, **values: Any) -> None:
    stems = render or (out.parent / "clean" if layout == "stems" else None)
    keep_apart({"--root": root, "--audit": values["audit_csv"], "--speakers": values["speakers"]}, {"--render": stems})
    stage("training.build_manifest").run(root, out, layout=layout, render=render, **values)


def train(
    config: Path, out: Path, work: Path, threads: int | None, changes: str | None, **sources: Path | None
) -> None:
    differing = json_object(changes, "--changes")
    from audiorestorer.training.data import Data
    from audiorestorer.training.fit import fit
    from audiorestorer.training.settings import load_settings

    data = Data(**{"folder": sources.pop("data"), **sources})
    fit(load_settings(config, differing), data, out, work, threads)


def train_enhancer(
    config: Path, data: Path, out: Path, previous: list[Path], work: Path, threads: int | None, changes: str | None
) -> None:
    differing = json_object(changes, "--changes")
    from audiorestorer.training.enhancer.fit import fit
    from audiorestorer.training.enhancer.settings import load_settings

    fit(load_settings(config, differing), data, out, work, previous, threads)


def fusion_examples(config: Path, models: list[Path], **values: Any) -> None:
    from audiorestorer.training.fusion import load_settings, make_examples

    make_examples(load_settings(config), models=models, **values)


def training_of(network: str) -> Callable[..., None]:
    """The command that trains a network of `training/` on one folder, the only option beside the common ones."""

    def run(config: Path, out: Path, work: Path, threads: int | None, changes: str | None, **folder: Path) -> None:
        differing = json_object(changes, "--changes")
        module = import_module(f"audiorestorer.training.{network}")
        module.fit(module.load_settings(config, differing), *folder.values(), out, work, threads)

    return run


def triad_diagnostics(root: Path, write_csv: bool, summary_csv: bool, out: Path | None, figure: Path | None) -> None:
    module, folder = stage("training.triad_diagnostics"), out or _debug_folder(root)
    items, summary = folder / module.ITEMS if write_csv else None, folder / module.SUMMARY if summary_csv else None
    module.run(root, out_csv=items, summary_csv=summary, figure=figure)


def learning_from_audio_debug(root: Path, write_csv: bool, out: Path | None, **values: Any) -> None:
    module, folder = stage("training.learning_from_audio_debug"), out or _debug_folder(root)
    module.run(root, out_csv=folder / module.SUMMARY if write_csv else None, **values)


def _debug_folder(root: Path) -> Path:
    folder: Path = import_module("audiorestorer.training.runs").debug_folder(root)
    return folder


def sanity_suite(manifest: Path | None, noise: Path | None, **values: Any) -> None:
    if noise and not manifest:
        raise AudioRestorerError("--noise goes with --manifest")
    if not stage("training.sanity_suite").run(manifest, noise=noise, **values):
        raise typer.Exit(1)


def training_report(figures: str, **values: Any) -> None:
    pictures = {name: Path(path) for name, path in json.loads(figures).items()}
    stage("training.training_report").run(figures=pictures, **values)


command("generate-data", "datasets.generated:make")(
    "Make stems and noises by formulas, to try the training half on.",
    out=OUT_FOLDER,
    tracks=option(int, "Number of tracks.", 12, min=4),
    seconds=option(float, "Length of a track in seconds.", 12.0, min=2),
    noises=option(int, "Number of noises.", 24, min=4),
    sample_rate=RATE,
    seed=SEED,
    faults=option(bool, "Make one track whose mixture lacks a stem.", True),
)
command("audit-stems", audit_stems)(
    "Check that each mixture is the sum of its stems (MUSDB18-HQ's and MoisesDB's layouts).",
    root=ROOT,
    tol_db=option(float, "Largest residual, in dB below the mixture.", -40.0),
    out_csv=option(Path, "Table to write.", Path("stem_audit.csv"), "--csv", role=WRITTEN),
    figure=opt.FIGURE,
    strict=option(bool, "Exit with 1 when tracks fail.", False, "--strict"),
)
command("filter-noise", filter_noise)(
    "Keep noises that a denoiser should learn; reject alarms, beeps, speech, clipping and blows.",
    root=ROOT,
    out_manifest=option(Path, "Manifest of the noises that are kept.", ..., "--out", role=WRITTEN),
    out_csv=option(
        Path, "Table of every file with its features and the reason.", Path("noise_filter.csv"), "--csv", role=WRITTEN
    ),
    config=option(Path | None, "YAML file of thresholds that differ from the defaults.", None, role=READ),
    seed=option(int, "Seed of the splits.", 0, min=0),
    figure=opt.FIGURE,
)
command("build-manifest", build_manifest)(
    "Write a training manifest with splits by track, checked for leaks.",
    root=ROOT,
    out=option(Path, "Training manifest to write.", role=WRITTEN),
    layout=option(str, "stems, folder, or pairs (folders noisy/ and clean/).", "stems"),
    target=option(str, "What is clean in the layout stems: sum, or one stem's name.", "sum"),
    audit_csv=option(Path | None, "Table of audit-stems; tracks that failed are left out.", None, "--audit", role=READ),
    speakers=option(Path | None, "JSON file, track -> speaker: a speaker's tracks stay in one split.", None, role=READ),
    render=option(Path | None, "Folder for the summed stems.", None),
    shares=option(tuple[float, float, float], "Shares of train, valid and test.", (0.8, 0.1, 0.1)),
    seed=option(int, "Seed of the splits.", 0, min=0),
    keep_subsets=option(bool, "Keep a data set's own test folder as the test split.", True),
    min_sec=option(float, "Leave shorter recordings out.", 1.0, min=0),
)
command("train", train)(
    "Train a mask network; an interrupted training goes on from its last checkpoint.",
    prepare=alone_on_its_cores,
    config=option(Path, "Experiment file.", role=READ),
    out=option(Path, "Model to write, a safetensors file.", role=WRITTEN),
    data=option(Path | None, "Folder with index.jsonl (pilot models), instead of a manifest.", None, role=READ),
    manifest=option(Path | None, "Training manifest of build-manifest.", None, role=READ),
    noise=option(Path | None, "Noise manifest of filter-noise.", None, role=READ),
    rooms=option(Path | None, "Folder of impulse responses.", None, role=READ),
    real=option(Path | None, "Real degraded recordings: a folder, or a manifest without clean.", None, role=READ),
    work=WORK,
    threads=TRAIN_THREADS,
    changes=CHANGES,
)
command("evaluate-model", "training.evaluate_model")(
    "Measure a trained network on voices and pieces that its training never saw.",
    model=argument(Path, "MODEL", "The safetensors file that train wrote.", role=READ),
    data=option(Path, "Folder with index.jsonl that the training used.", role=READ),
    out_json=option(Path, "File to write.", ..., "--out", role=WRITTEN),
)
command("triad-diagnostics", triad_diagnostics)(
    "Measure SI-SDR, LSD, residual and composite of noisy/yhat/clean triads, per item and per epoch.",
    root=TRIADS,
    write_csv=option(bool, "Write triad_diagnostics.csv.", False, "--write-csv"),
    summary_csv=option(bool, "Write triad_summary.csv.", False, "--summary-csv"),
    out=TABLES,
    figure=opt.FIGURE,
)
command("learning-from-audio-debug", learning_from_audio_debug)(
    "Say whether a run learns: its trend over the epochs, its best epoch, and a verdict.",
    root=TRIADS,
    write_csv=option(bool, "Write learning_summary.csv.", False, "--write-csv"),
    out=TABLES,
    measured=option(Path | None, "The triad_diagnostics.csv of the same triads.", None),
    figure=opt.FIGURE,
)
command("infer-batch", "training.infer_batch")(
    "Run one checkpoint over a folder or a manifest, with metrics.",
    job=opt.JOB,
    source=option(Path, "Folder, or JSONL manifest with the fields noisy and, if wanted, clean.", ..., "--in"),
    checkpoint=opt.CHECKPOINT,
    out=OUT_FOLDER,
    config=NETWORK,
    clean=option(Path | None, "Folder of references with the names of the inputs.", None),
    metrics_csv=option(Path | None, "Table of the triads' figures to write.", None, "--metrics"),
    overlap=opt.OVERLAP,
    floor_db=opt.FLOOR_DB,
)
command("sanity-suite", sanity_suite)(
    "Run eight checks of the training half, each green or red; exit code 1 when one is red.",
    manifest=option(Path | None, "Training manifest; audio is generated if left out.", None, role=READ),
    noise=option(Path | None, "Noise manifest.", None, role=READ),
    sample_rate=option(int, "Sample rate that the recordings must have, in Hz.", 22050, "--sr"),
    mono=option(bool, "The recordings must be mono.", False, "--mono"),
    out_json=option(Path | None, "Results to write, as JSON.", None, "--json", role=WRITTEN),
    out_html=option(Path | None, "Page to write.", None, "--html", role=WRITTEN),
    threads=opt.THREADS._replace(default=2),
    long=option(bool, "Train a larger network for five times the steps: minutes instead of one.", False, "--long"),
)
command("export-onnx", "training.export_onnx")(
    "Export a checkpoint as ONNX, checked against PyTorch.",
    checkpoint=opt.CHECKPOINT,
    out=OUT,
    config=NETWORK,
    sr=option(int | None, "Sample rate that the model must have, in Hz.", None),
    length=option(int | None, "Samples of the example; other lengths work too.", None, min=1),
)
command("profile-infer", "training.profile_infer")(
    "Measure latency, real-time factor, memory and FLOPs with torch, ONNX Runtime and OpenVINO.",
    checkpoint=opt.CHECKPOINT,
    out_json=option(Path, "JSON file to write.", Path("profile.json"), "--out", role=WRITTEN),
    config=NETWORK,
    device=opt.DEVICE,
    secs=option(float, "Length of the audio in seconds.", 10.0),
    runs=option(int, "Number of runs per backend.", 20, min=1),
    threads=opt.THREADS,
    figure=opt.FIGURE,
)
command("register-model", "training.register_model")(
    "Make a trained checkpoint a registry entry that the rendering half can use.",
    checkpoint=opt.CHECKPOINT,
    name=option(str, "Name of the entry."),
    registry_file=option(
        Path, "Registry file; it is made where there is none.", opt.REGISTRY.default, "--registry", role=WRITTEN
    ),
    licence=option(str, "Licence of the weights.", "MIT"),
    replace=option(bool, "Point an entry that has this name to the checkpoint.", False, "--replace"),
)
command("training-report", training_report)(
    "Write the training half's page in the report.",
    folder=option(Path, "Folder with the CSV and JSON files of the steps."),
    model_json=option(Path, "The JSON file that train wrote.", ..., "--model"),
    out_html=option(Path, "Page to write.", ..., "--out"),
    figures=option(str, "PNG file of each section, as JSON."),
)
command("generate-enhancement-data", "datasets.enhancement.generated_folder:make")(
    "Make fg/ (voices), bg/ (noise, music) and rir/ (rooms) by formulas: a data set to train the enhancer on.",
    out=OUT_FOLDER,
    speakers=option(int, "Number of voices.", 32, min=2),
    takes=option(int, "Files per voice.", 2, min=1),
    seconds=option(float, "Length of a file in seconds.", 14.0, min=2),
    sample_rate=RATE,
    seed=SEED,
)
command("train-enhancer", train_enhancer)(
    "Train a part of the enhancer: the denoiser, then stage 1, then stage 2. An interrupted training goes on.",
    prepare=alone_on_its_cores,
    config=option(Path, "Experiment file: denoiser, enhancer_stage1 or enhancer_stage2.", role=READ),
    data=option(Path, "Folder with fg/ (clean speech), bg/ (noise) and rir/ (rooms).", role=READ),
    out=option(Path, "Checkpoint of the trained parts to write, a safetensors file.", role=WRITTEN),
    previous=option(list[Path], "Checkpoint of a training before this one; can be repeated.", [], role=READ),
    work=WORK,
    threads=TRAIN_THREADS,
    changes=CHANGES,
)
command("join-enhancer", "models.enhancer.checkpoint:join_checkpoints")(
    "Put the enhancer's trained parts together into one file.",
    paths=argument(list[Path], "CHECKPOINT", "Checkpoints of the denoiser, of stage 1 and of stage 2.", role=READ),
    out=option(Path, "The whole enhancer to write, a safetensors file.", role=WRITTEN),
)
command("evaluate-enhancer", "training.evaluate_enhancer")(
    "Measure an enhancer on band-limited, reverberant, noisy, clipped and broken versions of clean speech.",
    job={**opt.JOB, "store": opt.STORE._replace(role=WRITTEN)},
    speech=argument(Path, "SPEECH_DIR", "Clean recordings, best of voices that no training saw.", role=READ),
    out=option(Path, "Folder of quality.json, quality.csv and quality.md.", role=WRITTEN),
    checkpoint=option(Path, "The enhancer's safetensors file, or the record that fetch-model wrote.", role=READ),
    denoiser=option(Path | None, "A mask network to compare with: safetensors file or record.", None, role=READ),
    own_denoiser=option(Path | None, "Record of the denoiser that a model of kind extension uses.", None, role=READ),
    transcripts=option(Path | None, "TSV with the columns path (below SPEECH_DIR) and transcript.", None, role=READ),
    recogniser=opt.RECOGNISER,
    conditions=option(list[str], "clean, band_4khz, ...; can be repeated. All if left out.", [], "--condition"),
    limit=option(int | None, "Largest number of recordings.", None, min=1),
    dnsmos=option(bool, "Measure DNSMOS too.", False, "--dnsmos"),
    words=option(bool, "Let a recogniser count wrong words, which takes most of the time.", True, "--words/--no-words"),
    config=section(EnhanceSettings, "The section enhance: a YAML file, or inline JSON.", "{}"),
)
command("fusion-examples", fusion_examples)(
    "Make what the fusion network is trained on: mixtures, the estimates of their speech, and the speech. A killed job goes on.",
    config=option(Path, "Experiment file of the fusion network.", role=READ),
    data=option(Path, "Training audio: a folder with index.jsonl.", role=READ),
    models=option(
        list[Path], "Record of a fetched model; one for each of the experiment's sources.", ..., "--model", role=READ
    ),
    folder=option(Path, "Folder to write the examples to.", ..., "--out", role=WRITTEN),
    part=option(int, "Number of this process, from 0.", 0, min=0),
    of=option(int, "Number of processes that share the work.", 1, min=1),
)
command("train-fusion", training_of("fusion"))(
    "Train the fusion network, which joins several separators' estimates. An interrupted training goes on.",
    prepare=alone_on_its_cores,
    config=option(Path, "Experiment file of the fusion network.", role=READ),
    examples=option(Path, "Folder that fusion-examples wrote.", role=READ),
    out=option(Path, "Checkpoint to write, a safetensors file.", role=WRITTEN),
    work=WORK,
    threads=TRAIN_THREADS,
    changes=CHANGES,
)
command("train-extension", training_of("extension"))(
    "Train the extension network, which makes the band that a recording of speech lacks. An interrupted training goes on.",
    prepare=alone_on_its_cores,
    config=option(Path, "Experiment file of the extension network.", role=READ),
    data=option(Path, "Training audio: a folder with index.jsonl.", role=READ),
    out=option(Path, "Checkpoint to write, a safetensors file.", role=WRITTEN),
    work=WORK,
    threads=TRAIN_THREADS,
    changes=CHANGES,
)
