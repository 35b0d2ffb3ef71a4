"""The commands of the rendering half: the pipeline's stages in their order, and the two that work on a folder of recordings."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import typer

from audiorestorer import config as settings
from audiorestorer.chain import SPEECH_TASKS
from audiorestorer.commands import options as opt
from audiorestorer.commands.options import READ, ROWS, WRITTEN, argument, commands_of, option, section, stage
from audiorestorer.errors import AudioRestorerError
from audiorestorer.folders import keep_apart
from audiorestorer.manifest import in_range
from audiorestorer.memory import keep_freed_memory
from audiorestorer.separators import ModelFiles
from audiorestorer.stages.job import Job

app = typer.Typer()
command = commands_of(app)
WHOLE_CONFIG = section(settings.Config, "The whole configuration: a YAML file, or inline JSON.")
METRICS_JSON = argument(Path, "METRICS_JSON", "The file that collect wrote.")
RECORDINGS = option(Path, "Folder or zip of the recordings.", ..., "--input")
OUTPUT = option(Path, "The output folder.")
LEDGER = option(Path, "Folder with the records of what was published.")
DENOISER = "deepfilternet3"  # of a folder, which no separator has seen
# parameters of the section `enhance` that enhance-folder takes, and their flags
ENHANCE_FLAGS = {
    "denoise_only": "--denoise-only", "regenerate_all": "--regenerate-all", "nfe": "--nfe", "solver": "--solver", "lambd": "--lambd",
    "tau": "--tau", "seed": "--seed", "sample_rate": "--sr", "window_sec": "--window", "max_wer": "--max-wer",
    "precision": "--precision", "batch_size": "--batch-size", "model": "--model", "denoiser": "--denoiser",
}  # fmt: skip


def shard_options(section_settings: type[settings.Settings]) -> dict[str, opt.Parameter]:
    """What a stage takes that makes a shard's next manifest by its section of the configuration."""
    return {"in_manifest": opt.IN_MANIFEST, "out_manifest": opt.OUT_MANIFEST, "config": section(section_settings)}


def ingest(out_manifest: Path, config: settings.Config, shard: int, store: Path) -> None:
    clean, transcripts = import_module("audiorestorer.intake.pairs").companions(config)
    read = {"input": config.input, "references": clean, "transcripts": transcripts}
    keep_apart(read, {"OUT_MANIFEST": out_manifest, "--store": store}, files_beside=False)
    stage("ingest").run(out_manifest, config, shard, store)


def fuse(
    manifests: list[Path], config: settings.FuseSettings, job: Job, model_json: Path | None, estimate_of: list[str]
) -> None:
    if len(manifests) < 2:
        raise AudioRestorerError("fuse: needs at least one input manifest and the output manifest")
    opt.spare_originals(manifests[:-1], {"OUT_MANIFEST": manifests[-1]}, job.store)
    stage("fuse").run(manifests[:-1], manifests[-1], config, job, model_json, estimate_of)


def enhance_folder(
    source: Path, out: Path, job: Job, no_gate: bool, checkpoint: Path | None, registry: Path, models_dir: Path, **values: Any
) -> None:  # fmt: skip
    if no_gate:
        values["max_wer"] = None
    longest = settings.EnhanceSettings.model_fields["overlap_sec"].default
    values["overlap_sec"] = min(longest, values["window_sec"] / 4)
    values["denoiser"] = {"null": None, "auto": DENOISER}.get(values["denoiser"], values["denoiser"])
    config = settings.validate(settings.EnhanceSettings, values, "enhance")
    known, arrays = (import_module(f"audiorestorer.models.{name}") for name in ("registry", "arrays"))
    model: Path | ModelFiles | None = checkpoint
    kind = arrays.architecture_of(checkpoint) if checkpoint else ""
    denoiser = None
    if model is None:
        entries = known.load(registry)
        entries.check_task(config.model, ("enhance",), "--model")
        kind = entries.get(config.model).kind
        model = _fetched(config.model, entries, registry, models_dir)
    if kind == "extension" and config.denoiser:
        entries = known.load(registry)
        entries.check_task(config.denoiser, SPEECH_TASKS, "--denoiser")
        denoiser = _fetched(config.denoiser, entries, registry, models_dir)
    stage("enhance").run_folder(source, out, model, config, job, denoiser=denoiser)


def _fetched(name: str, entries: Any, registry: Path, models_dir: Path) -> ModelFiles:
    fetching = import_module("audiorestorer.models.fetching")
    fetching.check_model_reachable(name, entries, models_dir)
    with TemporaryDirectory() as folder:  # the models' folder may be one that is only read
        record = Path(folder) / f"{name}.json"
        fetching.fetch(name, registry, record, models_dir)
        return ModelFiles.read(record)


def tidy(manifests: list[Path], stale: str, **values: Any) -> None:
    if len(manifests) < 2 or stale not in get_args(settings.Stale):
        raise AudioRestorerError(
            "tidy: needs a manifest of publish and the file to write; --stale is auto, remove or keep"
        )
    stage("batch.tidy").run(in_range(manifests[:-1]), manifests[-1], stale=stale, **values)


def deliver(
    manifests: list[Path], out: Path, config: settings.DeliverSettings, max_size: str | None, **files: Any
) -> None:
    if max_size is not None:
        config = settings.validate(
            settings.DeliverSettings, {**config.model_dump(), "max_size": max_size}, "--max-size"
        )
    stage("batch.deliver").run(manifests, out, config, files["extra"], files["model"])


command("ingest", ingest)(
    "Find the recordings of one shard and say which can be used.",
    out_manifest=opt.OUT_MANIFEST,
    config=WHOLE_CONFIG,
    shard=option(int, "Number of the shard.", 0, min=0),
    store=opt.STORE,
)
command("left-out", "batch.left_out")(
    "Count and name what the run leaves out.",
    out_json=argument(Path, "OUT_JSON", "File to write."),
    config=WHOLE_CONFIG,
)
command("declip", "declip")(
    "Make clipped samples anew before the separators hear the recording.",
    job=opt.STORE_ONLY,
    **shard_options(settings.DeclipSettings),
)
command("declick", "declick")(
    "Take clicks away before the separators hear the recording.",
    job=opt.STORE_ONLY,
    **shard_options(settings.DeclickSettings),
)
command("separate", "separate")(
    "Split speech from music with one separator.",
    job=opt.JOB,
    prepare=keep_freed_memory,
    **shard_options(settings.SeparatorSettings),
    model_json=opt.MODEL,
)
command("fuse", fuse)(
    "Join the separators' estimates of the speech into one.",
    job={"store": opt.STORE, "threads": opt.THREADS},
    manifests=argument(list[Path], "IN_MANIFEST... OUT_MANIFEST", "A manifest per separator, then the output."),
    config=section(settings.FuseSettings),
    model_json=opt.MODEL,
    estimate_of=option(list[str], "Model of each separator, in the order of the manifests; for method learned.", []),
)
command("denoise", "denoise")(
    "Denoise the fused speech, with a wet mix.",
    job=opt.JOB,
    prepare=keep_freed_memory,
    **shard_options(settings.DenoiseSettings),
    model_json=opt.MODEL,
)
command("postmask", "postmask")(
    "Apply the beta-Wiener mask between the speech and what was removed.",
    job=opt.STORE_ONLY,
    **shard_options(settings.PostmaskSettings),
)
command("enhance", "enhance")(
    "Mend what a recording's faults call for, and make the band that it lacks: the optional stage between postmask and loudness.",
    job=opt.JOB,
    **shard_options(settings.EnhanceSettings),
    model_json=opt.MODEL._replace(default=...),
    recogniser=opt.RECOGNISER,
    denoiser=option(Path | None, "Record of the denoiser, of a model of kind extension.", None),
)
command("loudness", "loudness")(
    "Bring each file to the target loudness, below the true-peak ceiling, in the input's format.",
    job=opt.STORE_ONLY,
    **shard_options(settings.LoudnessSettings),
)
command("evaluate", "evaluate")(
    "Measure each finished file.",
    job={**opt.JOB, "device": opt.JOB["device"]._replace(default="cpu")},
    **shard_options(settings.EvaluateSettings),
    recogniser=opt.RECOGNISER,
    tagger=option(Path | None, "Record of the PANNs model: the JSON file that fetch-model wrote.", None),
    sentences=option(Path | None, "Text for the language model: the transcripts' table, or a sentence per line.", None),
    words_below=option(str | None, "Highest draw of the recordings whose words are heard; the workflow sets it.", None),
)
command("restore", "restore")(
    "Restore music or speech with one checkpoint: the input's rate, channels, length and sample format are kept.",
    job=opt.JOB,
    source=opt.SOURCE,
    out=opt.TARGET,
    checkpoint=opt.CHECKPOINT,
    wet=option(float, "Share of the restored signal; the rest is the input.", 1.0, min=0, max=1),
    overlap=opt.OVERLAP,
    floor_db=opt.FLOOR_DB,
)
command("enhance-folder", enhance_folder)(
    "Mend dropouts, clipping, noise and echoes, and make the band that a recording lacks. OUT/enhance.jsonl says what was found.",
    job=opt.JOB,
    source=opt.SOURCE,
    out=opt.TARGET,
    **opt.section_options(settings.EnhanceSettings, ENHANCE_FLAGS),
    no_gate=option(bool, "Take the enhanced recording whatever its words.", False, "--no-gate"),
    checkpoint=option(Path | None, "Safetensors file of an enhancer, instead of --model.", None),
    registry=opt.REGISTRY,
    models_dir=opt.MODELS_DIR,
)
command("collect", "batch.collect")(
    "Gather the figures of all shards into metrics.json and metrics.csv.",
    manifests=opt.MANIFESTS,
    json_out=option(Path, "The metrics.json to write.", ..., "--json", role=WRITTEN),
    csv_out=option(Path, "The metrics.csv to write.", ..., "--csv", role=WRITTEN),
    left_out=option(Path | None, "The file that the command left-out wrote.", None),
)
command("strict", "batch.strict")("Fail if any file was rejected.", metrics_json=METRICS_JSON)
command("snippets", "batch.snippets")(
    "Cut A/B snippets and draw spectrograms for a sample of the batch.",
    metrics_json=METRICS_JSON,
    out_json=argument(Path, "OUT_JSON", "List of the snippets to write.", role=WRITTEN),
    manifests=option(
        list[Path], "Manifests of the last stage; [0-7].jsonl stands for eight.", ..., "--manifest", role=ROWS
    ),
    folder=option(Path, "Folder of the snippets and pictures.", role=WRITTEN),
    config=section(settings.SnippetSettings),
    threads=opt.THREADS,
)
command("report", "batch.report")(
    "Write the results table, the listening page, the run times, the figures and the summary.",
    metrics_json=METRICS_JSON,
    out_dir=argument(Path, "OUT_DIR", "Folder of the pages."),
    snippets_json=option(Path, "The file that the command snippets wrote.", ..., "--snippets"),
    config=option(str, "The run's settings, as inline JSON.", metavar="CONFIG"),
    models=option(list[Path], "Records of the models in use.", ..., "--model"),
    manifests=option(Path | None, "Folder of all stages' manifests, with their run times.", None),
)
command("quality-page", "batch.quality_page")(
    "Make the report's page from the tables of the quality benchmark (docs/lab/quality.md).",
    markdown=argument(Path, "MARKDOWN", "The tables.", role=READ),
    out_html=argument(Path, "OUT_HTML", "Page to write.", role=WRITTEN),
)
command("publish", "publish")(
    "Fill the output folder with copies of the finished files, mirroring the input tree. What somebody changed there is kept.",
    in_manifest=opt.IN_MANIFEST,
    out_manifest=opt.OUT_MANIFEST,
    output=OUTPUT._replace(role=WRITTEN),
    store=opt.STORE,
    sweep=option(list[Path], "Manifests of earlier stages whose files are deleted now.", []),
    ledger=LEDGER._replace(kind=Path | None, default=None),
    source=RECORDINGS._replace(kind=Path | None, default=None),
    replace_edited=option(
        bool, "Also replace files that somebody changed or put there.", False, "--replace-edited/--keep-edited"
    ),
    number=option(
        int | None, "Number to note beside the records; it grows where outputs were deleted.", None, "--round"
    ),
)
command("tidy", tidy)(
    "Remove from the output folder what left the input. What somebody changed is kept and named.",
    manifests=argument(list[Path], "IN_MANIFEST... OUT_JSON", "All manifests of publish, then the file to write."),
    output=OUTPUT,
    source=RECORDINGS,
    ledger=LEDGER,
    stale=option(str, "auto, remove or keep: what happens to outputs that left the input.", "auto"),
    deliveries=option(Path | None, "Folder of the archives that were packed.", None),
)
command("deliver", deliver)(
    "Pack the cleaned tree into archives with manifest, licences and checksums.",
    manifests=opt.MANIFESTS,
    out=option(Path, "Folder of the archives.", role=WRITTEN),
    config=section(settings.DeliverSettings, default="{}"),
    max_size=option(str | None, "Largest size of an archive, for example 2GB.", None),
    extra=option(list[Path], "Files to put beside the audio.", []),
    model=option(list[Path], "Records of the models in use, for their licences.", []),
)
