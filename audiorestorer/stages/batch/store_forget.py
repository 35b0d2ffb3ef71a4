"""store forget: delete a withdrawn recording, by its name, and all that was made of it: store entries, outputs, snippets, pages.

What came of a recording is found by its content (every entry names that of its recording), and by the manifests, which name files of
entries that earlier versions made. Content that another recording of any run has too stays, and so does what somebody changed.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json
from audiorestorer.packed import archives, holding
from audiorestorer.published import Ledger, Record, folder_name
from audiorestorer.store import Store
from audiorestorer.store_users import Kept, User, contents, files_of, locked, rows_of, users_of

log = logging.getLogger("audiorestorer")

LEDGER, DELIVERIES, SNIPPETS = "published", "delivery", "eval/snippets"
TABLES = ("eval/metrics.json", "eval/metrics.csv", "eval/snippets.json", "eval/output.json")
PAGES = (
    "results.html", "listening*.html", "blind.html", "details.html", "figures/*.png", "summary.md", "analysis.html", "analysis.ipynb",
    "report.html",
)  # fmt: skip
NEXT = "run the same snakemake command again: it makes tables and pages without it"


@dataclass
class Traces:
    """All that is known of the recordings: their contents and ids, files of the store by those who name them, and what will go."""

    # content of a recording -> its name
    contents: dict[str, str] = field(default_factory=dict)
    # contents that only the entries' names know, which may be another project's
    unsure: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    # files of the store that the recordings' own rows name
    named: set[str] = field(default_factory=set)
    # files of the store that rows of other recordings name -> which recording
    others: dict[str, str] = field(default_factory=dict)
    # content -> another recording that has it
    twins: dict[str, str] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)
    manifests: list[Path] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    # those of the names asked for that something knows
    known: set[str] = field(default_factory=set)


def run(names: Sequence[str], store: Path, artifacts: Path, *, dry_run: bool = False) -> list[str]:
    """Forget recordings.

    Args:
        names: relative paths as in the input, or ids; exact.
        artifacts: of the run that had them; other runs that share the store keep theirs.
        dry_run: nothing is deleted.

    Returns:
        A line for each thing that was (or would be) deleted or that stays.

    Raises:
        AudioRestorerError: a name that is known nowhere, a run that is working, or no such store.
    """
    users = users_of(store)
    own = [user for user in users if _uses(user, artifacts)]
    if not own:
        raise AudioRestorerError(f"store: {artifacts}: no run there uses {store} (--artifacts, --store)")
    with locked(users):
        entries = contents(store).entries
        sources = {(entry.stage, entry.key): Store(store, entry.stage).source_of(entry.key) for entry in entries}
        traces = _look(set(names), users, own, Ledger(artifacts / LEDGER))
        for source in sources.values():
            if source and set(names) & {*source.names}:
                traces.known |= set(names) & {*source.names}
                if source.sha256 and source.sha256 not in traces.contents:
                    traces.contents[source.sha256] = sorted(set(names) & {*source.names})[0]
                    traces.unsure.add(source.sha256)
        if unknown := sorted(set(names) - traces.known):
            raise AudioRestorerError(
                f"store: {', '.join(map(repr, unknown))}: no such recording: a name is its path below the input, or its id; entries of"
                " earlier versions that no manifest names go by `store prune --max-size 1 --keep-hours 0`"
            )
        _look_for_twins(traces, users, artifacts, set(names))
        lines = [
            f"{traces.contents[content]}: {other} has the same content: what was made of it stays"
            for content, other in sorted(traces.twins.items())
            if content not in traces.unsure
        ]
        doomed, spared = _entries(traces, entries, sources)
        lines += spared
        lines += _outputs(traces, dry_run)
        lines += _files([*_snippets(traces, artifacts), *_pages(traces, artifacts)], dry_run)
        lines += _drop_entries(doomed, store, dry_run)
        lines += _files(traces.manifests, dry_run)
        for record in traces.records:
            if not dry_run:
                Ledger(artifacts / LEDGER).drop(record)
        gone = set(names) | {record.relative for record in traces.records}
        for path in holding(archives(artifacts / DELIVERIES), lambda name: name in gone):
            lines.append(f"{path}: holds it: delete it, or pack it again (snakemake deliver)")
        for name in sorted(traces.inputs):
            lines.append(f"{name}: is still in the input: the next run makes it again")
    return [*lines, NEXT]


def _uses(user: User, artifacts: Path) -> bool:
    return os.path.realpath(user.folder / user.artifacts) == os.path.realpath(artifacts)


def _asked(names: set[str], row: dict[str, Any]) -> set[str]:
    return names & {str(row.get(key)) for key in ("relative", "id")}


def _look(names: set[str], users: list[User], own: list[User], ledger: Ledger) -> Traces:
    """Collect what manifests and the ledger of the run know of the names."""
    traces = Traces()
    seen: set[Path] = set()
    for user in own:
        for manifest in user.manifests():
            real = manifest.resolve()
            for row in rows_of(manifest):
                hit = _asked(names, row)
                if not hit:
                    continue
                traces.known |= hit
                traces.ids.add(str(row["id"]))
                if row.get("noisy_sha256"):
                    traces.contents[str(row["noisy_sha256"])] = sorted(hit)[0]
                traces.named |= files_of(user, row)
                noisy = os.path.normpath(user.folder / str(row.get("noisy")))
                if user.tail(noisy) is None and os.path.exists(noisy):
                    traces.inputs.add(noisy)
                if real not in seen:
                    seen.add(real)
                    traces.manifests.append(manifest)
    for record in ledger.records():
        hit = names & {record.relative, record.id}
        if hit:
            traces.known |= hit
            traces.ids.add(record.id)
            traces.records.append(record)
    return traces


def _look_for_twins(traces: Traces, users: list[User], artifacts: Path, names: set[str]) -> None:
    """Add who else has a content, and which files of the store the rows of other recordings name."""
    for user in users:
        ours = _uses(user, artifacts)
        for manifest in user.manifests():
            for row in rows_of(manifest):
                if ours and _asked(names, row):
                    continue
                who = f"{row.get('relative') or row.get('id')} of {folder_name(user.folder / user.artifacts)}"
                if row.get("noisy_sha256") in traces.contents:
                    traces.twins.setdefault(str(row["noisy_sha256"]), who)
                for file in files_of(user, row):
                    traces.others[file] = who


def _entries(traces: Traces, entries: list[Kept], sources: dict[Any, Any]) -> tuple[list[Kept], list[str]]:
    """The entries to delete, and a line for those that stay though they are of the recording."""
    doomed, spared = [], []
    for entry in entries:
        source = sources[entry.stage, entry.key]
        ours = (source is not None and source.sha256 in traces.contents) or bool(traces.named & {*entry.files})
        if not ours or (source is not None and source.sha256 in traces.twins):
            continue
        others = {traces.others[file] for file in entry.files if file in traces.others}
        if others:
            spared.append(f"{entry.stage}/{entry.key}: stays: {sorted(others)[0]} has it too")
        else:
            doomed.append(entry)
    return doomed, spared


def _outputs(traces: Traces, dry_run: bool) -> Iterator[str]:
    for record in traces.records:
        if not os.path.lexists(record.path):
            continue
        if not record.untouched():
            yield f"{record.path}: was changed after it was published: delete it yourself"
            continue
        if not dry_run:
            record.remove()
        yield f"{record.path}: deleted"


def _snippets(traces: Traces, artifacts: Path) -> Iterator[Path]:
    for name in sorted(traces.ids):
        if (artifacts / SNIPPETS / name).is_dir():
            yield artifacts / SNIPPETS / name


def _pages(traces: Traces, artifacts: Path) -> Iterator[Path]:
    """Tables and pages, where the last run's tables hold the recording; all but `report.html` are made again by the next run."""
    try:
        ids = {str(row["id"]) for row in read_json(artifacts / TABLES[0])["items"]}
    except (AudioRestorerError, KeyError, TypeError):
        ids = traces.ids  # not to be read: as if it held it
    if traces.ids & ids:
        yield from (artifacts / name for name in TABLES if (artifacts / name).is_file())
        for pattern in PAGES:
            yield from sorted((artifacts / "report").glob(pattern))


def _files(paths: Sequence[Path], dry_run: bool) -> Iterator[str]:
    for path in paths:
        if not dry_run:
            with suppress(FileNotFoundError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield f"{path}: deleted"


def _drop_entries(doomed: list[Kept], store: Path, dry_run: bool) -> Iterator[str]:
    """Delete the entries, those of ingest last: they know the name, should this be killed on the way."""
    stages: dict[str, list[Kept]] = {}
    for entry in sorted(doomed, key=lambda entry: (entry.stage == "ingest", entry.stage)):
        stages.setdefault(entry.stage, []).append(entry)
    for stage, own in stages.items():
        if not dry_run:
            for entry in own:
                Store(store, stage).remove(entry.key)
        size = sum(entry.size for entry in own)
        yield f"{store / stage}: {len(own)} entries, {size / 1e6:.1f} MB: deleted"
