"""evaluate: measure each finished file. Each group of metrics of an item is an entry of its own in the store, so that adding a group,
or changing the code of one, computes only that. Groups that look at one file at a time (WER, PANNs, DNSMOS) have an entry for each
file, so that a new output leaves what is known of mixture and reference as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from audiorestorer.config import EvaluateSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp.views import View
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json
from audiorestorer.intake.pairs import COLUMNS
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.metrics import Missing
from audiorestorer.metrics.context import EMBEDDED_RECOGNISER, Context
from audiorestorer.metrics.examination import Examined, examine
from audiorestorer.metrics.files import Files
from audiorestorer.metrics.groups import wer as group_wer
from audiorestorer.progress import work_file
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, Stage, run_items
from audiorestorer.store import Entry
from audiorestorer.tables import is_table, read_table, read_text

NO_FILE = {"clean": "no clean reference (references)"}
FIELDS = ("metrics", "missing", "heard")


def _merged(item: Item, row: dict[str, Any]) -> Item:
    return item.updated(**{name: {**(getattr(item, name) or {}), **row.get(name, {})} for name in FIELDS})


def _absent(items: Iterable[Item], reasons: dict[str, str]) -> list[Item]:
    return [_merged(item, {"missing": reasons}) if item.ok else item for item in items]


def measure_group(
    group: str,
    items: list[Item],
    store: Path,
    context: Context,
    out_manifest: Path | None = None,
    given: Sequence[Path] = (),
) -> list[Item]:
    """The items with the group's figures added to the fields `metrics`, `missing` and `heard`. `given`: see `run_items`."""
    module: Any = import_module(f"audiorestorer.metrics.groups.{group}")
    reason = module.unavailable(context) if hasattr(module, "unavailable") else None
    sides: tuple[str, ...] = getattr(module, "SIDES", ())
    if reason:  # nothing of this goes to the store: it is not a property of the file
        names = [_of_side(name, side) for name in module.names(context) for side in sides] if sides else module.NAMES
        return _absent(items, dict.fromkeys(names, reason))
    if not sides:
        record = work_file(out_manifest, group) if out_manifest else None
        return run_items(_pair_stage(group, module, context), items, store, record, given)
    load = cache(lambda: module.load(context))
    for side in sides:
        stage = _side_stage(group, module, context, side, load)
        record = work_file(out_manifest, f"{group}-{side}") if out_manifest else None
        items = _measure_side(stage, module, items, store, context, side, record, given)
    return [_noted(module, context, item) for item in items] if hasattr(module, "note") else items


def _noted(module: Any, context: Context, item: Item) -> Item:
    """With what the group says of its figures, where the item has one."""
    of_group = {_of_side(name, side) for name in module.names(context) for side in module.SIDES}
    text = module.note(item.transcript or "") if of_group.intersection(item.metrics or {}) else None
    return item.updated(notes={"wer": text}) if text else item


def _pair_stage(group: str, module: Any, context: Context) -> Stage[Any]:
    """Of a group that compares an item's files: `compute(Files)`."""

    def process(compute: Any, item: Item, _: Path) -> ItemResult:
        known = _examined(item) if getattr(module, "EXAMINED", False) else Examined()
        values, missing = compute(Files(item.noisy, item.path or "", item.clean, known))
        return ItemResult({}, {"metrics": values, "missing": missing})

    return Stage(
        name=f"evaluate/{group}",
        settings=module.state(context) if hasattr(module, "state") else None,
        code=code_digest(f"metrics.groups.{group}"),
        load=lambda: module.compute,
        process=process,
        describe=lambda entry, item: _merged(item, entry.row),
        inputs=lambda item: [
            item.sha256,
            item.noisy_sha256,
            item.clean_sha256,
            item.examined if getattr(module, "EXAMINED", False) else None,
        ],  # fmt: skip
    )


def _examined(item: Item) -> Examined:
    return Examined(**(item.examined or {}))


def examined(
    items: list[Item], store: Path, out_manifest: Path | None = None, given: Sequence[Path] = ()
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
        inputs=lambda item: [item.sha256, item.noisy_sha256, item.clean_sha256],
    )
    record = work_file(out_manifest, "examination") if out_manifest else None
    return run_items(stage, items, store, record, given)


def _side_stage(group: str, module: Any, context: Context, side: str, load: Any) -> Stage[Any]:
    """Of a group that looks at one file: `load(context)` gives `compute(path, item)`."""
    hashes = {"noisy": "noisy_sha256", "output": "sha256", "clean": "clean_sha256"}
    paths = {"noisy": "noisy", "output": "path", "clean": "clean"}

    def process(compute: Any, item: Item, _: Path) -> ItemResult:
        try:
            values, missing, heard = compute(getattr(item, paths[side]), item.updated(view=_view(item, side)))
        except Missing as reason:
            values, missing, heard = {}, dict.fromkeys(module.names(context), str(reason)), {}
        return ItemResult({}, {"metrics": values, "missing": missing, "heard": heard})

    def describe(entry: Any, item: Item) -> Item:
        row = {name: {_of_side(key, side): value for key, value in entry.row[name].items()} for name in FIELDS}
        return _merged(item, row)

    return Stage(
        name=f"evaluate/{group}",
        settings=module.state(context),
        code=code_digest(*module.modules(context)),
        load=load,
        process=process,
        describe=describe,
        inputs=lambda item: [
            getattr(item, hashes[side]),
            item.transcript if _spoken(module) else None,
            _view(item, side),
        ],  # fmt: skip
    )


def _view(item: Item, side: str) -> View | None:
    """In which the file is heard as one signal; None: as it suits the file by itself."""
    if item.examined is None:
        return None
    found = _examined(item)
    return found.clean_view if side == "clean" else found.view


def _measure_side(
    stage: Stage[Any],
    module: Any,
    items: list[Item],
    store: Path,
    context: Context,
    side: str,
    record: Path | None,
    given: Sequence[Path],
) -> list[Item]:
    def reason_of(item: Item) -> str | None:
        if _spoken(module) and not item.transcript:
            return (item.notes or {}).get("transcript") or "no transcript (transcripts)"
        if getattr(module, "NEEDS_SOUND", False) and (silent := _examined(item).silent.get(side)):
            return silent
        return NO_FILE["clean"] if side == "clean" and item.clean_sha256 is None else None

    usable = [item for item in items if item.ok and not reason_of(item)]
    done = {item.id: item for item in run_items(stage, usable, store, record, given)}
    names = [_of_side(name, side) for name in module.names(context)]
    out = []
    for item in items:
        reason = reason_of(item) if item.ok else None
        out.append(_merged(item, {"missing": dict.fromkeys(names, reason)}) if reason else done.get(item.id, item))
    return out


def _spoken(module: Any) -> bool:
    return bool(getattr(module, "NEEDS_TRANSCRIPT", False))


def _of_side(name: str, side: str) -> str:
    """`wer` of the mixture is `wer_in`, of the reference `wer_clean`."""
    return name + {"noisy": "_in", "output": "", "clean": "_clean"}[side]


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


def _device(job: Job) -> str:
    from audiorestorer.devices import pick_device

    return str(pick_device(job.device, job.threads))


def run(
    in_manifest: Path,
    out_manifest: Path,
    config: EvaluateSettings,
    job: Job,
    *,
    recogniser: Path | None = None,
    tagger: Path | None = None,
    sentences: Path | None = None,
) -> None:
    """Measure a shard, group by group.

    Args:
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
        tagger_hint=f"the weights of {config.tagger} are not here; to fetch them: snakemake evaluation_models"
        if config.tagger
        else Context.tagger_hint,
        language_models=("batch", "general") if config.language_model == "both" else (config.language_model,),
        device=_device(job) if recogniser or tagger else "cpu",
        threads=job.threads,
    )
    context = replace(context, sentences=group_wer.sentences(context, sentences_of(sentences)))
    items = read_manifest(in_manifest)
    items = examined(items, job.store, out_manifest, [in_manifest])
    for group in config.metrics:
        items = measure_group(group, items, job.store, context, out_manifest, [in_manifest])
    write_manifest(out_manifest, items)
