"""evaluate: measure each finished file. Each group of metrics of an item is an entry of its own in the store, so that adding a group,
or changing the code of one, computes only that. Groups that look at one file at a time (WER, PANNs, DNSMOS) have an entry for each
file, so that a new output leaves what is known of mixture and reference as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

from audiorestorer.config import EvaluateSettings
from audiorestorer.devices import on_gpu, pick_device
from audiorestorer.digest import code_digest
from audiorestorer.dsp.views import View
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json
from audiorestorer.intake.pairs import COLUMNS
from audiorestorer.manifest import Item, draw, read_manifest, write_manifest
from audiorestorer.metrics import Missing, groups
from audiorestorer.metrics.context import EMBEDDED_RECOGNISER, Context
from audiorestorer.metrics.examination import Examined, examine
from audiorestorer.metrics.files import Files, Sound
from audiorestorer.metrics.groups import Figures, Group
from audiorestorer.metrics.groups import wer as group_wer
from audiorestorer.progress import work_file
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, Stage, run_items
from audiorestorer.store import Entry
from audiorestorer.tables import is_table, read_table, read_text

FETCH = "snakemake evaluation_models (and make setup-models, for what runs them)"
NO_FILE = {"clean": "no clean reference (references)"}
FIELDS = ("metrics", "missing", "heard")
SIDES = {"noisy": "before", "output": "after", "clean": "references"}  # in the lines of the progress
Compute: TypeAlias = Callable[[Sound, Figures], None]


def _merged(item: Item, row: dict[str, Any]) -> Item:
    return item.updated(**{name: {**(getattr(item, name) or {}), **row.get(name, {})} for name in FIELDS})


def _absent(items: Iterable[Item], reasons: dict[str, str]) -> list[Item]:
    return [_merged(item, {"missing": reasons}) if item.ok else item for item in items]


def measure_group(
    name: str,
    items: list[Item],
    store: Path,
    context: Context,
    out_manifest: Path | None = None,
    given: Sequence[Path] = (),
) -> list[Item]:
    """The items with the group's figures added to the fields `metrics`, `missing` and `heard`. `given`: see `run_items`."""
    group = groups.named(name)
    if reason := group.unavailable(context):  # nothing of this goes to the store: it is not a property of the file
        return _absent(items, dict.fromkeys(group.columns(context), reason))
    if group.compute:
        record = work_file(out_manifest, name) if out_manifest else None
        return run_items(_files_stage(name, group, context), items, store, record, given)
    load = cache(partial(_loaded, group, context))
    for side in group.sides:
        stage = _side_stage(name, group, context, side, load)
        record = work_file(out_manifest, f"{name}-{side}") if out_manifest else None
        items = _measure_side(stage, group, items, store, context, side, record, given)
    return [_noted(name, group, context, item) for item in items]


def _loaded(group: Group, context: Context) -> Compute:
    assert group.load is not None
    return group.load(context)


def _noted(name: str, group: Group, context: Context, item: Item) -> Item:
    """With what the group says of its figures, where the item has one."""
    measured = (item.metrics or {}).keys() & group.columns(context)
    text = group.note(item.transcript or "") if measured else None
    return item.updated(notes={name: text}) if text else item


def _files_stage(name: str, group: Group, context: Context) -> Stage[None]:
    """The stage of a group that compares an item's files."""

    def process(_: None, item: Item, __: Path) -> ItemResult:
        known = _examined(item) if group.examined else Examined()
        figures = group.measure(Files(item.noisy, item.path or "", item.clean, known))
        return ItemResult({}, {"metrics": figures.values, "missing": figures.missing})

    return Stage(
        name=f"evaluate/{name}",
        settings=group.state(context),
        code=code_digest(f"metrics.groups.{name}", *group.modules(context)),
        load=lambda: None,
        process=process,
        describe=lambda entry, item: _merged(item, entry.row),
        processes=context.processes,
        inputs=lambda item: [
            item.sha256,
            item.noisy_sha256,
            item.clean_sha256,
            item.examined if group.examined else None,
        ],
    )


def _examined(item: Item) -> Examined:
    return Examined(**(item.examined or {}))


def examined(
    items: list[Item],
    store: Path,
    out_manifest: Path | None = None,
    given: Sequence[Path] = (),
    processes: int = 1,
) -> list[Item]:
    """The items with what is known of their files before they are measured, in the field `examined`.

    Of a reference that does not fit, or was aligned, a note tells; the delay is in the field `reference_delay_ms`.
    """

    def process(_: Any, item: Item, __: Path) -> ItemResult:
        return ItemResult({}, examine(item.noisy, item.path or "", item.clean).row())

    def described(entry: Entry, item: Item) -> Item:
        found = Examined(**entry.row)
        changes: dict[str, Any] = {"examined": dict(entry.row)}
        if found.note:
            changes["notes"] = {"reference": found.note}
        if found.delay_sec:
            changes["reference_delay_ms"] = round(1000 * found.delay_sec, 3)
        return item.updated(**changes)

    stage: Stage[None] = Stage(
        name="evaluate/examination",
        settings=None,
        code=code_digest("metrics.examination"),
        load=lambda: None,
        process=process,
        describe=described,
        processes=processes,
        inputs=lambda item: [item.sha256, item.noisy_sha256, item.clean_sha256],
    )
    record = work_file(out_manifest, "examination") if out_manifest else None
    return run_items(stage, items, store, record, given)


def _side_stage(name: str, group: Group, context: Context, side: str, load: Callable[[], Compute]) -> Stage[Compute]:
    """The stage of a group that looks at one file at a time."""
    hashes = {"noisy": "noisy_sha256", "output": "sha256", "clean": "clean_sha256"}
    paths = {"noisy": "noisy", "output": "path", "clean": "clean"}

    def process(compute: Compute, item: Item, _: Path) -> ItemResult:
        figures = Figures(group.bases(context))
        try:
            sound = Sound.of_file(getattr(item, paths[side]), _view(item, side), item.transcript)
        except Missing as reason:
            figures.none(str(reason))
        else:
            group.measured(compute, sound, figures)
        return ItemResult({}, {"metrics": figures.values, "missing": figures.missing, "heard": figures.heard})

    def describe(entry: Entry, item: Item) -> Item:
        suffix = groups.SUFFIXES[side]
        return _merged(
            item, {part: {f"{key}{suffix}": value for key, value in entry.row[part].items()} for part in FIELDS}
        )

    return Stage(
        name=f"evaluate/{name}",
        settings=group.state(context),
        code=code_digest(f"metrics.groups.{name}", *group.modules(context)),
        load=load,
        process=process,
        describe=describe,
        processes=context.processes,
        part=SIDES[side],
        inputs=lambda item: [
            getattr(item, hashes[side]),
            item.transcript if group.needs_transcript else None,
            _view(item, side),
        ],
    )


def _view(item: Item, side: str) -> View | None:
    """In which the file is heard as one signal; None: as it suits the file by itself."""
    if item.examined is None:
        return None
    found = _examined(item)
    return found.clean_view if side == "clean" else found.view


def _measure_side(
    stage: Stage[Compute],
    group: Group,
    items: list[Item],
    store: Path,
    context: Context,
    side: str,
    record: Path | None,
    given: Sequence[Path],
) -> list[Item]:
    def reason_of(item: Item) -> str | None:
        if group.needs_transcript and not item.transcript:
            return (item.notes or {}).get("transcript") or "no transcript (transcripts)"
        if group.needs_sound and (silent := _examined(item).silent.get(side)):
            return silent
        return NO_FILE["clean"] if side == "clean" and item.clean_sha256 is None else None

    usable = [item for item in items if item.ok and not reason_of(item)]
    done = {item.id: item for item in run_items(stage, usable, store, record, given)}
    names = [f"{base}{groups.SUFFIXES[side]}" for base in group.bases(context)]
    out = []
    for item in items:
        reason = reason_of(item) if item.ok else None
        out.append(_merged(item, {"missing": dict.fromkeys(names, reason)}) if reason else done.get(item.id, item))
    return out


def sentences_of(path: Path | None) -> list[str]:
    """The transcripts of a table (`.tsv`, `.csv`, or its first line names its columns), or the lines of any other file.

    Raises:
        AudioRestorerError: unreadable, or a table without the column `transcript`.
    """
    if path is None:
        return []
    try:
        if path.suffix.lower() in (".tsv", ".csv") or is_table(path, COLUMNS):
            rows = read_table(path, {"transcript": COLUMNS["transcript"]}).rows
            return [row.cells.get("transcript", "") for row in rows if not row.too_many]
        return read_text(path).splitlines()
    except AudioRestorerError as error:
        raise AudioRestorerError(f"sentences: {error}") from error


def run(
    in_manifest: Path,
    out_manifest: Path,
    config: EvaluateSettings,
    job: Job,
    *,
    recogniser: Path | None = None,
    tagger: Path | None = None,
    sentences: Path | None = None,
    words_below: str | None = None,
) -> None:
    """Measure a shard, group by group.

    Args:
        words_below: the words of items are heard whose `draw` is not above it; None: of all.
        recogniser, tagger: what `fetch-model` wrote; without them pocketsphinx, and no tagging.
        sentences: what the batch's language model is made of: the transcripts' TSV, or a text file with a sentence a line.

    Raises:
        AudioRestorerError: the configuration names a recogniser whose record was not given.
    """
    if recogniser is None and config.recogniser != EMBEDDED_RECOGNISER and "wer" in config.metrics:
        raise AudioRestorerError(f"evaluate: --recogniser is needed: the fetched model {config.recogniser!r}")
    context = Context(
        recogniser=read_json(recogniser) if recogniser else None,
        tagger=read_json(tagger) if tagger else None,
        tagger_hint=f"the weights of {config.tagger} are not here; to fetch them: {FETCH}"
        if config.tagger
        else Context.tagger_hint,
        language_models=("batch", "general") if config.language_model == "both" else (config.language_model,),
    )
    if recogniser or tagger:
        context = replace(context, device=pick_device(job.device, job.threads))
    is_on_gpu = on_gpu(context.device)  # on a CPU items go side by side, each on one thread
    threads, processes = (job.threads, 1) if is_on_gpu else (1, job.threads)
    context = replace(context, threads=threads, processes=processes)
    context = replace(context, sentences=group_wer.sentences(context, sentences_of(sentences)))
    given = read_manifest(in_manifest)
    items = [item.updated(path=item.measured, sha256=item.measured_sha256) if item.measured else item for item in given]
    items = examined(items, job.store, out_manifest, [in_manifest], context.processes)
    for name in config.metrics:
        rest = _not_drawn(groups.named(name), items, context, config, words_below)
        drawn = [item for item in items if item.id not in rest]
        measured = measure_group(name, drawn, job.store, context, out_manifest, [in_manifest])
        rows = rest | {item.id: item for item in measured}
        items = [rows[item.id] for item in items]
    write_manifest(
        out_manifest,
        [item.updated(path=own.path, sha256=own.sha256) for item, own in zip(items, given, strict=True)],
    )


def _not_drawn(
    group: Group, items: list[Item], context: Context, config: EvaluateSettings, words_below: str | None
) -> dict[str, Item]:
    """The items whose words are not heard, since they are not of the sample, with that reason; by id."""
    if words_below is None or not group.needs_transcript:
        return {}
    reason = f"not in the sample of {config.wer_sample} recordings whose words are heard (evaluate.wer_sample)"
    others = [item for item in items if item.transcript and draw(item.id, config.seed) > words_below]
    return {item.id: item for item in _absent(others, dict.fromkeys(group.columns(context), reason))}
