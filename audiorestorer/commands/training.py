"""The training half's commands; `__main__` adds them to its list. A stage's module is imported only when its command runs."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from audiorestorer.config import AblationDataSettings, load, read_yaml
from audiorestorer.errors import AudioRestorerError
from audiorestorer.folders import keep_apart

PANEL = "Training"
Root = Annotated[Path, typer.Option("--root", help="the folder")]
Checkpoint = Annotated[Path, typer.Option("--checkpoint", help="safetensors file that train wrote")]
Experiment = Annotated[
    Path | None, typer.Option("--config", help="experiment file, as a check of the checkpoint's network")
]
FigureOption = Annotated[Path | None, typer.Option("--figure", help="PNG to write")]
Threads = Annotated[int, typer.Option("--threads", min=1)]
RUNS = Path("artifacts/runs")
WorkOption = Annotated[Path, typer.Option("--work", help="run folders: checkpoints and logs")]
TrainThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="instead of the experiment's")]
ChangesOption = Annotated[
    str | None, typer.Option("--changes", help="JSON: sections and keys that differ from the experiment's")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")]


def stage(name: str) -> Any:
    """A stage's module."""
    return import_module(f"audiorestorer.stages.{name}")


def generate_data(
    out: Annotated[Path, typer.Option("--out")],
    tracks: Annotated[int, typer.Option(min=4)] = 12,
    seconds: Annotated[float, typer.Option(min=2)] = 12.0,
    noises: Annotated[int, typer.Option(min=4)] = 24,
    sr: Annotated[int, typer.Option(min=8000)] = 22050,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    faults: Annotated[bool, typer.Option(help="one track whose mixture lacks a stem")] = True,
) -> None:
    """Make stems and noises by formulas: a data set to try the training half on."""
    import_module("audiorestorer.datasets.generated").make(
        out, tracks=tracks, seconds=seconds, noises=noises, sample_rate=sr, seed=seed, faults=faults
    )


def generate_enhancement_data(
    out: Annotated[Path, typer.Option("--out")],
    speakers: Annotated[int, typer.Option(min=2)] = 32,
    takes: Annotated[int, typer.Option(min=1, help="files of each speaker")] = 2,
    seconds: Annotated[float, typer.Option(min=2, help="length of each")] = 14.0,
    sr: Annotated[int, typer.Option(min=8000)] = 22050,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Make fg/ (voices), bg/ (noise, music) and rir/ (rooms) by formulas: a data set to train the enhancer on."""
    import_module("audiorestorer.datasets.enhancement.generated_folder").make(
        out, speakers=speakers, takes=takes, seconds=seconds, sample_rate=sr, seed=seed
    )


def audit_stems(
    root: Root,
    tol_db: Annotated[float, typer.Option("--tol-db", help="largest residual, dB below the mixture")] = -40.0,
    out_csv: Annotated[Path, typer.Option("--csv")] = Path("stem_audit.csv"),
    figure: FigureOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 when tracks fail")] = False,
) -> None:
    """Is each mixture the sum of its stems? (MUSDB18-HQ's and MoisesDB's layouts)"""
    keep_apart({"--root": root}, {"--csv": out_csv, "--figure": figure})
    totals = stage("training.audit_stems").run(root, out_csv, tol_db=tol_db, figure=figure)
    if strict and totals["failed"]:
        raise typer.Exit(1)


def filter_noise(
    root: Root,
    out: Annotated[Path, typer.Option("--out", help="manifest of the noises that are kept")],
    out_csv: Annotated[Path, typer.Option("--csv", help="every file with its features and the reason")] = Path(
        "noise_filter.csv"
    ),
    config: Annotated[Path | None, typer.Option("--config", help="YAML of thresholds that differ")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the splits")] = 0,
    figure: FigureOption = None,
) -> None:
    """Keep noises that a denoiser should learn, reject alarms, beeps, speech, clipping and blows."""
    keep_apart({"--root": root, "--config": config}, {"--out": out, "--csv": out_csv, "--figure": figure})
    stage("training.filter_noise").run(
        root, out, out_csv, settings=read_yaml(config) if config else None, seed=seed, figure=figure
    )


def analyse_degradation(
    sources: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="degraded recordings: folders, files, manifests")
    ],
    out_csv: Annotated[Path, typer.Option("--out-csv", help="a row a recording")] = Path("degradation.csv"),
    out_json: Annotated[Path, typer.Option("--out-json", help="rows, and the settings that follow from them")] = Path(
        "degradation.json"
    ),
    clean: Annotated[
        Path | None, typer.Option("--clean", help="clean recordings of the same kind: their impulse rate is subtracted")
    ] = None,
    figure: FigureOption = None,
) -> None:
    """What is wrong with real recordings: impulses, noise, bandwidth, hum and wow, each with a confidence."""
    read = {**{f"IN {source}": source for source in sources}, "--clean": clean}
    keep_apart(read, {"--out-csv": out_csv, "--out-json": out_json, "--figure": figure})
    stage("ablation.analyse_degradation").run(sources, out_csv, out_json, clean=clean, figure=figure)


def build_manifest(
    root: Root,
    out: Annotated[Path, typer.Option("--out")],
    layout: Annotated[str, typer.Option(help="stems, folder or pairs (noisy/ and clean/)")] = "stems",
    target: Annotated[str, typer.Option(help="of stems: sum, or one stem's name")] = "sum",
    audit: Annotated[Path | None, typer.Option(help="CSV of audit-stems: failed tracks are left out")] = None,
    speakers: Annotated[
        Path | None, typer.Option(help="JSON, track -> speaker: one speaker's tracks go together")
    ] = None,
    render: Annotated[Path | None, typer.Option(help="folder of summed stems")] = None,
    shares: Annotated[tuple[float, float, float], typer.Option(help="of train, valid and test")] = (0.8, 0.1, 0.1),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    keep_subsets: Annotated[bool, typer.Option(help="a data set's own test folder stays its test")] = True,
    min_sec: Annotated[float, typer.Option(min=0)] = 1.0,
) -> None:
    """Training manifest with splits by track, checked for leaks."""
    written = {"--out": out, "--render": render or (out.parent / "clean" if layout == "stems" else None)}
    keep_apart({"--root": root, "--audit": audit, "--speakers": speakers}, written)
    stage("training.build_manifest").run(
        root, out, layout=layout, target=target, audit_csv=audit, speakers=speakers, render=render, shares=shares, seed=seed,
        keep_subsets=keep_subsets, min_sec=min_sec,
    )  # fmt: skip


def train(
    config: Annotated[Path, typer.Option("--config", help="experiment file")],
    out: Annotated[Path, typer.Option("--out", help="the model, safetensors")],
    data: Annotated[Path | None, typer.Option("--data", help="folder with index.jsonl (pilot models)")] = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", help="training manifest (build-manifest)")] = None,
    noise: Annotated[Path | None, typer.Option("--noise", help="noise manifest (filter-noise)")] = None,
    rooms: Annotated[Path | None, typer.Option("--rooms", help="folder of impulse responses")] = None,
    real: Annotated[
        Path | None, typer.Option("--real", help="real degraded recordings: folder, or manifest without clean")
    ] = None,
    work: WorkOption = RUNS,
    threads: TrainThreadsOption = None,
    changes: ChangesOption = None,
) -> None:
    """Train a mask network; goes on from its last checkpoint."""
    read = {
        "--data": data,
        "--manifest": manifest,
        "--noise": noise,
        "--rooms": rooms,
        "--real": real,
        "--config": config,
    }
    keep_apart(read, {"--out": out, "--work": work})
    from audiorestorer.training.fit import Data

    stage("training.train").run(
        config, Data(data, manifest, noise, rooms, real), out, work, threads, changes=_object(changes, "--changes")
    )


def train_enhancer(
    config: Annotated[
        Path, typer.Option("--config", help="experiment file: denoiser, enhancer_stage1, enhancer_stage2")
    ],
    data: Annotated[Path, typer.Option("--data", help="folder with fg/ (clean speech), bg/ (noise) and rir/ (rooms)")],
    out: Annotated[Path, typer.Option("--out", help="checkpoint of the trained parts, safetensors")],
    previous: Annotated[
        list[Path] | None, typer.Option("--previous", help="checkpoint of a training before this one; several times")
    ] = None,
    work: WorkOption = RUNS,
    threads: TrainThreadsOption = None,
    changes: ChangesOption = None,
) -> None:
    """Train a part of the enhancer: the denoiser, then stage 1, then stage 2; goes on from its last checkpoint."""
    read = {"--data": data, "--config": config, **{f"--previous {path}": path for path in previous or ()}}
    keep_apart(read, {"--out": out, "--work": work})
    stage("training.train_enhancer").run(
        config, data, out, work, previous or (), threads, changes=_object(changes, "--changes")
    )  # fmt: skip


def join_enhancer(
    parts: Annotated[list[Path], typer.Argument(metavar="CHECKPOINT...", help="of denoiser, stage 1 and stage 2")],
    out: Annotated[Path, typer.Option("--out", help="the whole enhancer, safetensors")],
) -> None:
    """Put the enhancer's trained parts together into one file."""
    keep_apart({f"CHECKPOINT {path}": path for path in parts}, {"--out": out})
    stage("training.join_enhancer").run(parts, out)


def _object(text: str | None, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError as error:
        raise AudioRestorerError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise AudioRestorerError(f"{where}: not a JSON object")
    return found


def evaluate_model(
    model: Path, data: Annotated[Path, typer.Option("--data")], out_json: Annotated[Path, typer.Option("--out")]
) -> None:
    """Measure a trained network on voices and pieces that its training never saw."""
    keep_apart({"MODEL": model, "--data": data}, {"--out": out_json})
    stage("training.evaluate_model").run(model, data, out_json)


def triad_diagnostics(
    root: Annotated[Path, typer.Option("--root", help="triads' folder, run folder, or the JSON that train wrote")],
    write_csv: Annotated[bool, typer.Option("--write-csv", help="write triad_diagnostics.csv")] = False,
    summary_csv: Annotated[bool, typer.Option("--summary-csv", help="write triad_summary.csv")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="folder of the CSVs; the triads' own if left out")] = None,
    figure: FigureOption = None,
) -> None:
    """SI-SDR, LSD, residual and composite of noisy/yhat/clean triads, an item and an epoch."""
    module = stage("training.triad_diagnostics")
    folder = out or _debug_folder(root)
    module.run(
        root, out_csv=folder / module.ITEMS if write_csv else None,
        summary_csv=folder / module.SUMMARY if summary_csv else None, figure=figure,
    )  # fmt: skip


def learning_from_audio_debug(
    root: Annotated[Path, typer.Option("--root", help="as of triad-diagnostics")],
    write_csv: Annotated[bool, typer.Option("--write-csv", help="write learning_summary.csv")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="folder of the CSV; the triads' own if left out")] = None,
    measured: Annotated[Path | None, typer.Option(help="triad_diagnostics.csv of the same triads")] = None,
    figure: FigureOption = None,
) -> None:
    """Does the run learn? Trend over epochs, best epoch, a verdict."""
    module = stage("training.learning_from_audio_debug")
    folder = out or _debug_folder(root)
    module.run(root, out_csv=folder / module.SUMMARY if write_csv else None, figure=figure, measured=measured)


def _debug_folder(root: Path) -> Path:
    from audiorestorer.training.runs import debug_folder

    return debug_folder(root)


def infer_batch(
    source: Annotated[Path, typer.Option("--in", help="folder, or JSONL manifest with noisy (and clean)")],
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option("--out")],
    config: Experiment = None,
    clean: Annotated[Path | None, typer.Option(help="folder of references with the inputs' names")] = None,
    metrics: Annotated[Path | None, typer.Option(help="CSV of the triads' figures")] = None,
    overlap: Annotated[int | None, typer.Option(min=2, help="n_fft / hop where the mask is applied")] = None,
    floor_db: Annotated[float | None, typer.Option(max=0, help="least mask, dB")] = None,
    store: Annotated[Path, typer.Option(help="folder of finished items")] = Path("artifacts/store"),
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Run one checkpoint over a folder or a manifest, with metrics."""
    stage("training.infer_batch").run(
        source, checkpoint, out, config=config, clean=clean, metrics_csv=metrics, overlap=overlap, floor_db=floor_db,
        store=store, device=device, threads=threads,
    )  # fmt: skip


def sanity_suite(
    manifest: Annotated[Path | None, typer.Option(help="training manifest; generated audio if left out")] = None,
    noise: Annotated[Path | None, typer.Option(help="noise manifest")] = None,
    sr: Annotated[int, typer.Option(help="the rate that recordings must have")] = 22050,
    mono: Annotated[bool, typer.Option("--mono", help="recordings must be mono")] = False,
    out_json: Annotated[Path | None, typer.Option("--json")] = None,
    out_html: Annotated[Path | None, typer.Option("--html")] = None,
    threads: Threads = 2,
) -> None:
    """Eight checks of the training half, green or red; exit code 1 when one is red."""
    if noise and not manifest:
        raise AudioRestorerError("--noise goes with --manifest")
    keep_apart({"--manifest": manifest, "--noise": noise}, {"--json": out_json, "--html": out_html})
    if not stage("training.sanity_suite").run(
        manifest, noise=noise, sample_rate=sr, mono=mono, out_json=out_json, out_html=out_html, threads=threads
    ):
        raise typer.Exit(1)


def export_onnx(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option("--out")],
    config: Experiment = None,
    sr: Annotated[int | None, typer.Option(help="the model's rate, as a check")] = None,
    length: Annotated[int | None, typer.Option(min=1, help="samples of the example; others work too")] = None,
) -> None:
    """Export a checkpoint as ONNX, checked against PyTorch."""
    keep_apart({"--checkpoint": checkpoint, "--config": config}, {"--out": out})
    stage("training.export_onnx").run(checkpoint, out, config=config, sr=sr, length=length)


def profile_infer(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option("--out", help="JSON")] = Path("profile.json"),
    config: Experiment = None,
    device: Device = "auto",
    secs: Annotated[float, typer.Option(help="length of the audio")] = 10.0,
    runs: Annotated[int, typer.Option(min=1)] = 20,
    threads: Threads = 1,
    figure: FigureOption = None,
) -> None:
    """Latency, real-time factor, memory and FLOPs with torch, ONNX Runtime and OpenVINO."""
    keep_apart({"--checkpoint": checkpoint, "--config": config}, {"--out": out, "--figure": figure})
    stage("training.profile_infer").run(
        checkpoint, out, config=config, device=device, secs=secs, runs=runs, threads=threads, figure=figure
    )


def register_model(
    checkpoint: Checkpoint,
    name: Annotated[str, typer.Option("--name", help="of the entry")],
    registry: Annotated[Path, typer.Option(help="registry file; made when absent")] = Path("config/models.yaml"),
    licence: Annotated[str, typer.Option(help="of the weights")] = "MIT",
    replace: Annotated[
        bool, typer.Option("--replace", help="an entry of that name is pointed to this checkpoint")
    ] = False,
) -> None:
    """Make a trained checkpoint a registry entry that the render half can use."""
    keep_apart({"--checkpoint": checkpoint}, {"--registry": registry})
    stage("training.register_model").run(checkpoint, name, registry, licence, replace=replace)


def training_report(
    folder: Annotated[Path, typer.Option("--folder", help="with the steps' CSV and JSON files")],
    model: Annotated[Path, typer.Option("--model", help="the JSON that train wrote")],
    out: Annotated[Path, typer.Option("--out")],
    figures: Annotated[str, typer.Option("--figures", help="JSON, section -> PNG")],
) -> None:
    """The training half's page in the report."""
    stage("training.training_report").run(
        folder, out, model, {name: Path(path) for name, path in json.loads(figures).items()}
    )


def make_degraded(
    out: Annotated[Path, typer.Option("--out", help="folder")],
    config: Annotated[str, typer.Option("--config", help="section ablation.data: a YAML file, or inline JSON")] = "{}",
    speech: Annotated[
        Path | None, typer.Option(help="folder with clean/ and transcripts.tsv; tracks are generated")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="instead: training manifest with train, valid and test")] = None,
    real: Annotated[Path | None, typer.Option(help="real degraded recordings: no stand-ins are made")] = None,
    sr: Annotated[int, typer.Option(min=8000, max=96000)] = 22050,
) -> None:
    """The ablation's recordings: to train on, stand-ins of real ones, and degraded test items."""
    keep_apart({"--speech": speech, "--manifest": manifest, "--real": real}, {"--out": out})
    chosen = load(AblationDataSettings, config)
    stage("ablation.make_degraded").run(out, chosen, speech=speech, manifest=manifest, real=real, sample_rate=sr)


def evaluate_restorer(
    manifest: Annotated[Path, typer.Argument(metavar="TEST_MANIFEST", help="test.jsonl of make-degraded")],
    out_json: Annotated[Path, typer.Option("--out")],
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="safetensors file that train wrote")] = None,
    method: Annotated[str | None, typer.Option(help="instead: input (unchanged) or click_repair (AR)")] = None,
    row: Annotated[str | None, typer.Option(help="name in the table")] = None,
    seed: Annotated[int | None, typer.Option(help="of the training")] = None,
    threads: Threads = 1,
) -> None:
    """Measure a restorer on degraded items: SI-SDR, LSD, composite, impulse removal, transient preservation."""
    keep_apart({"TEST_MANIFEST": manifest, "--checkpoint": checkpoint}, {"--out": out_json})
    stage("ablation.evaluate_restorer").run(
        manifest, out_json, checkpoint=checkpoint, method=method, row=row, seed=seed, threads=threads
    )


def ablation_report(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS", help="JSON files of evaluate-restorer")],
    out: Annotated[Path, typer.Option("--out", help="folder of ablation.json, .csv, .html and figures")],
    baseline: Annotated[str, typer.Option(help="the row that all others are compared with")] = "baseline",
    record: Annotated[
        list[Path] | None, typer.Option(help="JSON that train wrote, one a training: ROW.SEED.json")
    ] = None,
    settings: Annotated[str | None, typer.Option(help="JSON, kept in the result")] = None,
) -> None:
    """The ablation's table with spreads, intervals and relative gains, its figures and its page."""
    kept = json.dumps(_object(settings, "--settings")) if settings else None
    stage("ablation.ablation_report").run(results, out, baseline, records=record or [], settings=kept)


COMMANDS = (
    generate_data, audit_stems, filter_noise, analyse_degradation, build_manifest, train, evaluate_model, triad_diagnostics,
    learning_from_audio_debug, infer_batch, sanity_suite, export_onnx, profile_infer, register_model, training_report,
    make_degraded, evaluate_restorer, ablation_report, generate_enhancement_data, train_enhancer, join_enhancer,
)  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Add the commands, named as their functions with dashes."""
    for command in COMMANDS:
        app.command(command.__name__.replace("_", "-"), rich_help_panel=PANEL)(command)
