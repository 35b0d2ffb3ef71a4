"""The command list. Every stage is one command; a stage's module is imported only when its command runs."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from audiorestorer import config as settings
from audiorestorer.commands import training
from audiorestorer.errors import AudioRestorerError, of_the_machine
from audiorestorer.files import write_text_atomic
from audiorestorer.folders import Place, keep_apart, keep_rows_apart
from audiorestorer.manifest import in_range, read_manifests
from audiorestorer.names import as_text, is_text
from audiorestorer.resources import keep_freed_memory

app = typer.Typer(
    name="audiorestorer", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Restore audio in bulk. Each command is one stage of the Snakemake pipeline; all can be run by hand.",
)  # fmt: skip

InManifest = Annotated[Path, typer.Argument(metavar="IN_MANIFEST", help="JSONL rows of the stage before")]
OutManifest = Annotated[Path, typer.Argument(metavar="OUT_MANIFEST", help="JSONL rows that this stage writes")]
ConfigOption = Annotated[str, typer.Option("--config", metavar="CONFIG", help="a YAML file, or inline JSON")]
StoreOption = Annotated[Path, typer.Option("--store", help="folder of finished items")]
ModelOption = Annotated[Path | None, typer.Option("--model", help="the fetched model's JSON (command fetch-model)")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="threads of this job")]
STORE = Path("artifacts/store")


def stage(name: str) -> Any:
    """A stage's module; only the one that runs is imported, so that `--help` needs no torch."""
    return import_module(f"audiorestorer.stages.{name}")


def spare_originals(manifests: list[Path], written: dict[str, Place], store: Path | None = None) -> None:
    """Refuse to write over the manifests, or over the recordings that their rows came from, before a stage begins."""
    keep_apart({f"IN_MANIFEST {path}": path for path in manifests}, written)
    keep_rows_apart(read_manifests(manifests), {**written, "--store": store}, store)


@app.command("config")
def config_command(
    out: Annotated[Path | None, typer.Argument(help="file to write; standard output if left out")] = None,
) -> None:
    """Write every setting with its default and its meaning, as YAML."""
    if out is None:
        sys.stdout.write(settings.default_yaml())
    else:
        write_text_atomic(out, settings.default_yaml())


@app.command("check-config")
def check_config(
    config: Annotated[str, typer.Argument(help="a YAML file, or inline JSON")],
    kind: Annotated[str, typer.Option("--as", help="config, experiment (config/experiments) or models (registry)")] = "config",
) -> None:  # fmt: skip
    """Check a configuration: unknown keys and impossible values, one line each."""
    if kind == "config":
        settings.load(settings.Config, config)
    elif kind == "experiment":
        settings.load(import_module("audiorestorer.training.settings").TrainSettings, config)
    elif kind == "models":
        settings.load(import_module("audiorestorer.models.registry").Registry, config)
    else:
        raise AudioRestorerError(f"--as: {kind!r}: config, experiment or models")
    print("ok")


@app.command()
def ingest(
    out_manifest: OutManifest,
    config: ConfigOption,
    shard: Annotated[int, typer.Option(min=0)] = 0,
    store: StoreOption = STORE,
) -> None:
    """Find the recordings of one shard and say which can be used. CONFIG is the whole configuration."""
    chosen = settings.load(settings.Config, config)
    clean, transcripts = import_module("audiorestorer.intake.pairs").companions(chosen)
    read = {"input": chosen.input, "references": clean, "transcripts": transcripts}
    keep_apart(read, {"OUT_MANIFEST": out_manifest, "--store": store}, files_beside=False)
    stage("ingest").run(out_manifest, chosen, shard, store)


@app.command("left-out")
def left_out_command(out_json: Path, config: ConfigOption) -> None:
    """Count and name what the run leaves out. CONFIG is the whole configuration."""
    stage("batch.left_out").run(out_json, settings.load(settings.Config, config))


@app.command("fetch-model")
def fetch_model(
    name: Annotated[str, typer.Argument(help="entry of the registry")],
    out_json: Annotated[Path, typer.Argument(help="what this command writes: files, hashes, licence")],
    registry: Annotated[Path, typer.Option(help="the registry")] = Path("config/models.yaml"),
    models_dir: Annotated[Path, typer.Option(help="folder of downloaded models")] = Path("artifacts/models"),
) -> None:
    """Make a registry's model ready: download it once, or check the local file."""
    import_module("audiorestorer.models.registry").fetch(name, registry, out_json, models_dir)


@app.command("fetch-weights")
def fetch_weights(
    name: Annotated[str, typer.Argument(help="the model's name, for messages")],
    out: Annotated[Path, typer.Argument(help="the file to write; one that is there is checked only")],
    entry: Annotated[str, typer.Option("--entry", help="the registry's entry with this file alone, as JSON")],
) -> None:
    """Download one file of a model and check it."""
    from audiorestorer.models.registry import EntrySettings, fetch_file

    fetch_file(name, settings.load(EntrySettings, entry), out)


@app.command()
def separate(
    in_manifest: InManifest, out_manifest: OutManifest, config: ConfigOption, model: ModelOption = None,
    store: StoreOption = STORE, device: DeviceOption = "auto", threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Split speech from music with one separator."""
    chosen = settings.load(settings.SeparatorSettings, config)
    spare_originals([in_manifest], {"OUT_MANIFEST": out_manifest}, store)
    stage("separate").run(in_manifest, out_manifest, chosen, model, store, device, threads)


@app.command()
def fuse(
    manifests: Annotated[list[Path], typer.Argument(metavar="IN_MANIFEST... OUT_MANIFEST", help="one a separator, then the output")],
    config: ConfigOption, store: StoreOption = STORE,
) -> None:  # fmt: skip
    """Apply the mean or the maximum of the separators' ratio masks to the recordings."""
    if len(manifests) < 2:
        raise AudioRestorerError("fuse: needs at least one input manifest and the output manifest")
    chosen = settings.load(settings.FuseSettings, config)
    spare_originals(manifests[:-1], {"OUT_MANIFEST": manifests[-1]}, store)
    stage("fuse").run(manifests[:-1], manifests[-1], chosen, store)


@app.command()
def denoise(
    in_manifest: InManifest, out_manifest: OutManifest, config: ConfigOption, model: ModelOption = None,
    store: StoreOption = STORE, device: DeviceOption = "auto", threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Denoise the fused speech, with a wet mix."""
    chosen = settings.load(settings.DenoiseSettings, config)
    spare_originals([in_manifest], {"OUT_MANIFEST": out_manifest}, store)
    stage("denoise").run(in_manifest, out_manifest, chosen, model, store, device, threads)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="IN", help="a recording, or a folder of them")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="folder; of a single recording also the .wav or .flac to write")],
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="safetensors file that train wrote")],
    wet: Annotated[float, typer.Option(min=0, max=1, help="share of the restored signal; the rest is the input")] = 1.0,
    overlap: Annotated[int | None, typer.Option(min=2, help="n_fft / hop where the mask is applied")] = None,
    floor_db: Annotated[float | None, typer.Option(max=0, help="least mask, dB")] = None,
    store: StoreOption = STORE, device: DeviceOption = "auto", threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Restore music or speech with one checkpoint: the input's rate, channels, length and sample format are kept."""
    stage("restore").run(
        source,
        out,
        checkpoint,
        wet=wet,
        overlap=overlap,
        floor_db=floor_db,
        store=store,
        device=device,
        threads=threads,
    )


@app.command("enhance-folder")
def enhance_folder(
    source: Annotated[Path, typer.Argument(metavar="IN", help="a recording, or a folder of them")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="folder; of a single recording also the .wav or .flac to write")],
    denoise_only: Annotated[bool, typer.Option("--denoise-only", help="stop after the enhancer's denoiser")] = False,
    nfe: Annotated[int, typer.Option(help="evaluations of the flow's field: fewer are faster")] = 64,
    solver: Annotated[str, typer.Option(help="euler, midpoint or rk4")] = "midpoint",
    lambd: Annotated[float, typer.Option(help="share of the denoised speech in the condition, 0 to 1")] = 0.9,
    tau: Annotated[float, typer.Option(help="share of noise in the flow's start, 0 to 1")] = 0.5,
    seed: Annotated[int, typer.Option(help="of the noise")] = 0,
    sr: Annotated[str, typer.Option(help="auto: the input's rate or the model's, whichever is higher; keep: the input's")] = "auto",
    window: Annotated[float, typer.Option(help="longest window, s")] = 10.0,
    max_wer: Annotated[float, typer.Option(help="take the denoised recording where more words than this share change")] = 0.3,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="take the enhanced recording whatever its words")] = False,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    batch_size: Annotated[int | None, typer.Option(help="windows a pass")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="safetensors file; instead of --model")] = None,
    model: Annotated[str, typer.Option(help="entry of the registry")] = "pilot_enhancer",
    registry: Annotated[Path, typer.Option(help="the registry")] = Path("config/models.yaml"),
    models_dir: Annotated[Path, typer.Option(help="folder of downloaded models")] = Path("artifacts/models"),
    store: StoreOption = STORE, device: DeviceOption = "auto", threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Denoise speech and regenerate it at full band: length and channels are kept."""
    values = {
        "denoise_only": denoise_only, "nfe": nfe, "solver": solver, "lambd": lambd, "tau": tau, "seed": seed,
        "sample_rate": sr, "window_sec": window, "overlap_sec": min(0.5, window / 4), "max_wer": None if no_gate else max_wer,
        "precision": precision, "batch_size": batch_size, "model": model,
    }  # fmt: skip
    chosen = settings.validate(settings.EnhanceSettings, values, "enhance")
    weights = checkpoint or import_module("audiorestorer.models.registry").only_file(model, registry, models_dir)
    stage("enhance").run_folder(source, out, weights, chosen, store=store, device=device, threads=threads)


@app.command("evaluate-enhancer")
def evaluate_enhancer(
    speech: Annotated[Path, typer.Argument(metavar="SPEECH_DIR", help="clean recordings, best of voices that no training saw")],
    out: Annotated[Path, typer.Option("--out", help="folder of quality.json, .csv and .md")],
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="the enhancer's safetensors file, or its fetched JSON")],
    denoiser: Annotated[Path | None, typer.Option(help="mask network to compare with, the same")] = None,
    transcripts: Annotated[Path | None, typer.Option(help="TSV with the columns path (below SPEECH_DIR) and transcript")] = None,
    recogniser: Annotated[Path | None, typer.Option("--recogniser", help="the fetched recogniser's JSON")] = None,
    condition: Annotated[list[str] | None, typer.Option(help="clean, band_4khz, ...; can be repeated; all if left out")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="so many recordings at most")] = None,
    dnsmos: Annotated[bool, typer.Option("--dnsmos", help="measure DNSMOS too")] = False,
    config: ConfigOption = "{}",
    store: StoreOption = STORE, device: DeviceOption = "auto", threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Measure an enhancer on band-limited, reverberant, noisy and clipped versions of clean speech. CONFIG: section enhance."""
    read = {"SPEECH_DIR": speech, "--transcripts": transcripts, "--checkpoint": checkpoint, "--denoiser": denoiser}
    keep_apart(read, {"--out": out, "--store": store})
    stage("training.evaluate_enhancer").run(
        speech, checkpoint, out, settings.load(settings.EnhanceSettings, config), denoiser=denoiser, transcripts=transcripts,
        recogniser=recogniser, conditions=condition, limit=limit, dnsmos=dnsmos, store=store, device=device, threads=threads,
    )  # fmt: skip


@app.command()
def enhance(
    in_manifest: InManifest, out_manifest: OutManifest, config: ConfigOption,
    model: Annotated[Path, typer.Option("--model", help="the fetched model's JSON (command fetch-model)")],
    recogniser: Annotated[Path | None, typer.Option("--recogniser", help="the fetched recogniser's JSON")] = None,
    store: StoreOption = STORE, device: DeviceOption = "auto", threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Enhance a shard of the pipeline: the optional stage between postmask and loudness."""
    chosen = settings.load(settings.EnhanceSettings, config)
    spare_originals([in_manifest], {"OUT_MANIFEST": out_manifest}, store)
    stage("enhance").run(
        in_manifest, out_manifest, chosen, model, store, recogniser=recogniser, device=device, threads=threads
    )


@app.command()
def postmask(
    in_manifest: InManifest, out_manifest: OutManifest, config: ConfigOption, store: StoreOption = STORE
) -> None:
    """Apply the beta-Wiener mask between the speech and what was removed."""
    chosen = settings.load(settings.PostmaskSettings, config)
    spare_originals([in_manifest], {"OUT_MANIFEST": out_manifest}, store)
    stage("postmask").run(in_manifest, out_manifest, chosen, store)


@app.command()
def loudness(
    in_manifest: InManifest, out_manifest: OutManifest, config: ConfigOption, store: StoreOption = STORE
) -> None:
    """Bring each file to the target loudness, below the true-peak ceiling, in the input's format."""
    chosen = settings.load(settings.LoudnessSettings, config)
    spare_originals([in_manifest], {"OUT_MANIFEST": out_manifest}, store)
    stage("loudness").run(in_manifest, out_manifest, chosen, store)


@app.command()
def evaluate(
    in_manifest: InManifest, out_manifest: OutManifest, config: ConfigOption, store: StoreOption = STORE,
    recogniser: Annotated[Path | None, typer.Option("--recogniser", help="the fetched recogniser's JSON")] = None,
    tagger: Annotated[Path | None, typer.Option("--tagger", help="the fetched PANNs model's JSON")] = None,
    sentences: Annotated[Path | None, typer.Option("--sentences", help="for the language model: transcripts' TSV, or text")] = None,
    device: DeviceOption = "cpu", threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Measure each finished file."""
    chosen = settings.load(settings.EvaluateSettings, config)
    spare_originals([in_manifest], {"OUT_MANIFEST": out_manifest}, store)
    stage("evaluate").run(
        in_manifest, out_manifest, chosen, store, recogniser=recogniser, tagger=tagger, sentences=sentences, device=device,
        threads=threads,
    )  # fmt: skip


@app.command()
def collect(
    manifests: Annotated[list[Path], typer.Argument(help="manifests of the evaluation; [0-7].jsonl stands for eight")],
    json_out: Annotated[Path, typer.Option("--json")], csv_out: Annotated[Path, typer.Option("--csv")],
    left_out: Annotated[Path | None, typer.Option("--left-out", help="what the command left-out wrote")] = None,
) -> None:  # fmt: skip
    """Gather all shards' figures into metrics.json and metrics.csv."""
    spare_originals(in_range(manifests), {"--json": json_out, "--csv": csv_out})
    stage("batch.collect").run(in_range(manifests), json_out, csv_out, left_out)


@app.command()
def strict(metrics_json: Path) -> None:
    """Fail if any file was rejected."""
    stage("batch.strict").run(metrics_json)


@app.command()
def snippets(
    metrics_json: Path, out_json: Path, manifest: Annotated[list[Path], typer.Option("--manifest")],
    folder: Annotated[Path, typer.Option("--folder")], config: ConfigOption,
) -> None:  # fmt: skip
    """Cut A/B snippets and draw spectrograms for a sample of the batch."""
    chosen = settings.load(settings.SnippetSettings, config)
    spare_originals(in_range(manifest), {"OUT_JSON": out_json, "--folder": folder})
    stage("batch.snippets").run(metrics_json, in_range(manifest), out_json, folder, chosen)


@app.command()
def report(
    metrics_json: Path, out_dir: Path, snippets: Annotated[Path, typer.Option("--snippets")], config: ConfigOption,
    model: Annotated[list[Path], typer.Option("--model")],
    manifests: Annotated[Path | None, typer.Option("--manifests", help="of all stages; their run times lie beside them")] = None,
) -> None:  # fmt: skip
    """Write the results table, the listening page, the run times, the figures and the summary."""
    stage("batch.report").run(metrics_json, snippets, config, model, out_dir, manifests)


@app.command()
def quality_page(markdown: Path, out_html: Path) -> None:
    """Make the report's page of the quality benchmark's tables (docs/quality.md)."""
    keep_apart({"MARKDOWN": markdown}, {"OUT_HTML": out_html})
    stage("batch.quality_page").run(markdown, out_html)


@app.command()
def publish(
    in_manifest: InManifest, out_manifest: OutManifest, output: Annotated[Path, typer.Option("--output")],
    store: StoreOption = STORE, sweep: Annotated[list[Path] | None, typer.Option("--sweep", help="manifests to clear")] = None,
    ledger: Annotated[Path | None, typer.Option("--ledger", help="folder of records of what was published")] = None,
    source: Annotated[Path | None, typer.Option("--input", help="folder or zip of the recordings")] = None,
    replace_edited: Annotated[bool, typer.Option(
        "--replace-edited/--keep-edited", help="replace files that somebody changed or put there, too")] = False,
    number: Annotated[int | None, typer.Option("--round", help="to note beside the records: grows where outputs were deleted")] = None,
) -> None:  # fmt: skip
    """Fill the output folder with copies of the finished files, mirroring the input tree. What somebody changed there is kept."""
    spare_originals([in_manifest], {"--output": output, "OUT_MANIFEST": out_manifest}, store)
    stage("publish").run(
        in_manifest, out_manifest, output, sweep or [], store, ledger=ledger, source=source, replace_edited=replace_edited,
        number=number,
    )  # fmt: skip


@app.command()
def tidy(
    manifests: Annotated[list[Path], typer.Argument(metavar="IN_MANIFEST... OUT_JSON", help="all of publish, then the output")],
    output: Annotated[Path, typer.Option("--output")],
    source: Annotated[Path, typer.Option("--input", help="folder or zip of the recordings")],
    ledger: Annotated[Path, typer.Option("--ledger", help="folder of records of what was published")],
    stale: Annotated[str, typer.Option("--stale", help="auto, remove or keep: what is no longer of the input")] = "auto",
    deliveries: Annotated[Path | None, typer.Option("--deliveries", help="folder of archives that were packed")] = None,
) -> None:  # fmt: skip
    """Remove from the output folder what left the input; what somebody changed is kept and named."""
    if len(manifests) < 2 or stale not in get_args(settings.Stale):
        raise AudioRestorerError(
            "tidy: needs a manifest of publish and the file to write; --stale is auto, remove or keep"
        )
    stage("batch.tidy").run(
        in_range(manifests[:-1]), manifests[-1], output, ledger, source, stale=stale, deliveries=deliveries
    )  # fmt: skip


@app.command()
def deliver(
    manifests: Annotated[list[Path], typer.Argument(help="manifests of the loudness stage; [0-7].jsonl stands for eight")],
    out: Annotated[Path, typer.Option("--out", help="folder of the archives")], config: ConfigOption = "{}",
    max_size: Annotated[str | None, typer.Option("--max-size", help="of an archive, e.g. 2GB")] = None,
    extra: Annotated[list[Path] | None, typer.Option("--extra", help="files to put beside the audio")] = None,
    model: Annotated[list[Path] | None, typer.Option("--model", help="records of the models in use: their licences")] = None,
) -> None:  # fmt: skip
    """Pack the cleaned tree into archives with manifest, licences and checksums."""
    chosen = settings.load(settings.DeliverSettings, config)
    if max_size is not None:
        values = {**chosen.model_dump(), "max_size": max_size}
        chosen = settings.validate(settings.DeliverSettings, values, "--max-size")
    spare_originals(in_range(manifests), {"--out": out})
    stage("batch.deliver").run(in_range(manifests), out, chosen, extra or [], model or [])


store_app = typer.Typer(
    no_args_is_help=True, help="The folder of finished items: what is in it, is it whole, make room."
)
app.add_typer(store_app, name="store")


@store_app.command("stats")
def store_stats(store: StoreOption = STORE) -> None:
    """Entries and bytes by stage, what the manifests of all its runs name, what killed jobs left."""
    print(stage("batch.store_upkeep").stats(store))


@store_app.command("verify")
def store_verify(store: StoreOption = STORE) -> None:
    """Hash every file again; what is damaged goes, and the same snakemake command makes it again. Exit code 1: something was."""
    damaged, manifests = stage("batch.store_upkeep").verify(store)
    for line in damaged:
        print(line)
    print(f"store: {len(damaged)} damaged entries, {len(manifests)} manifests to be made again")
    if damaged or manifests:
        print("run the same snakemake command again: it makes what is missing")
        raise typer.Exit(1)


@store_app.command("prune")
def store_prune(
    max_size: Annotated[str, typer.Option("--max-size", help="of the store, e.g. 200GB")], store: StoreOption = STORE,
    keep_hours: Annotated[float, typer.Option("--keep-hours", min=0, help="what was used within them stays")] = 24.0,
) -> None:  # fmt: skip
    """Delete what was not used for the longest time until the store is small enough; never what a manifest names."""
    try:
        limit = settings.bytes_of(max_size)
    except ValueError as error:
        raise AudioRestorerError(f"--max-size: {error}") from error
    print(stage("batch.store_upkeep").prune(store, limit, keep_hours))


@store_app.command("forget")
def store_forget(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="path below the input, or id; exact")],
    artifacts: Annotated[Path, typer.Option("--artifacts", help="of the run that had them")] = STORE.parent,
    store: Annotated[Path | None, typer.Option("--store", help="folder of finished items; else `store` in the artifacts")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go, and delete nothing")] = False,
) -> None:  # fmt: skip
    """Remove withdrawn recordings and all that was made of them: entries of all settings, outputs, snippets, pages."""
    for line in stage("batch.store_forget").run(names, store or artifacts / STORE.name, artifacts, dry_run=dry_run):
        print(f"would: {line}" if dry_run else line)


training.add_to(app)


def main() -> None:
    """Run a command. What a user can mend exits with 2 and one message; anything else is a traceback."""
    # OpenMP reads both when torch is loaded. Two jobs that spin on the same cores take ten times as long; a training is alone on its
    # cores (its rules claim them all), and a short spin between its many small parallel regions halves its steps' time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if sys.argv[1:2] in (["train"], ["train-enhancer"]):
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    if sys.argv[1:2] in (["train"], ["train-enhancer"], ["separate"], ["denoise"]):
        keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        for word in sys.argv[1:]:
            if not is_text(word):
                raise AudioRestorerError(f"{as_text(word)}: not UTF-8: rename the file or folder")
        app()
    except AudioRestorerError as error:
        _end(error)
    except OSError as error:
        told = of_the_machine(error)
        if told is None:
            raise
        _end(told)


def _end(error: AudioRestorerError) -> None:
    print(f"audiorestorer: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
