"""publish: fill the user's output folder with copies of the finished files, mirroring the input tree.

What somebody changed there, or put there, stays and is named (`audiorestorer.published`). What left the input goes by `tidy`.
"""

from __future__ import annotations

import os
from pathlib import Path

from audiorestorer.errors import AGAIN, AudioRestorerError
from audiorestorer.files import inside, write_text_atomic
from audiorestorer.folders import keep_inputs
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.published import HIDDEN, TAKE_OURS, Finished, Ledger, Publisher, folder_name
from audiorestorer.stages.inputs import InputDamaged, checked
from audiorestorer.stages.shard import TOLD, StageFailed

ROUNDS = "rounds"
FINISHED = "loudness"  # the stage whose files these are
REMEDY = f"{TAKE_OURS} (all of them: --config replace_edited=true)"


def run(
    in_manifest: Path,
    out_manifest: Path,
    output: Path,
    sweep: list[Path],
    store: Path,
    *,
    ledger: Path | None = None,
    source: Path | None = None,
    replace_edited: bool = False,
    number: int | None = None,
) -> list[Item]:
    """Copy one shard's finished files into the output folder; what is there as it should be is not written again.

    Args:
        sweep: manifests of intermediate stages whose files are deleted now (`keep_intermediates: false`).
        ledger: folder of the records of what was published; in the store if left out.
        source: the input, a folder or a zip.
        replace_edited: what somebody changed or put under a file's name is replaced; else it is kept, and the row says why.
        number: noted in `<ledger>/rounds/<shard>`, and the rows beside it, since a bucket's run has its manifests elsewhere. The
            workflow raises it where a published file is gone, so that this is run again.

    Returns:
        The rows: `published`, our file; with `published_kept`, the reason, what has its name.

    Raises:
        AudioRestorerError: an output would lie in the input's folder.
        StageFailed: a finished file is not what was measured any more; the others are published.
    """
    items = read_manifest(in_manifest)
    _spare_inputs(items, output, source)
    named = folder_name(source) if source else ""
    records = Ledger(ledger or store / HIDDEN)
    publisher = Publisher(records, output, Finished(store / FINISHED), named, replace_edited=replace_edited)
    rows, damaged = [], []
    for item in items:
        try:
            rows.append(_published(item, publisher, store) if item.ok else item)
        except InputDamaged as error:
            damaged.append(f"{item.id}: {error}")
    publisher.told("publish", TOLD, REMEDY)
    if damaged:
        in_manifest.unlink()
        raise StageFailed(
            f"publish: {len(damaged)} files are damaged, the others are published; {AGAIN}: they are made again:\n  "
            + "\n  ".join(damaged)
        )
    if number is not None:
        write_text_atomic(records.folder / ROUNDS / out_manifest.stem, f"{number}\n")
        write_manifest(records.folder / ROUNDS / f"{out_manifest.stem}.jsonl", rows)
    write_manifest(out_manifest, rows)
    kept = {
        path for item in rows for path in (item.path, item.noisy)
    }  # a stage that changed nothing names the recording itself
    for manifest in sweep:
        sweep_files(read_manifest(manifest), store, kept)
    return rows


def _published(item: Item, publisher: Publisher, store: Path) -> Item:
    with checked(item.updated(noisy=item.path, clean=None), store):
        return publisher.placed(item)


def _spare_inputs(items: list[Item], output: Path, source: Path | None) -> None:
    """Whatever a user asks for, no recording of the input and no reference is replaced.

    Raises:
        AudioRestorerError: an output would lie in the input's folder, or replace one of these.
    """
    targets = [inside(output, item.output) for item in items if item.ok and item.output]
    folders = {folder: os.path.realpath(folder) for folder in {target.parent for target in targets}}
    keep_inputs(targets, [Path(name) for item in items for name in (item.noisy, item.clean) if name])
    root = os.path.realpath(source) if source else None
    for folder, found in sorted(folders.items()):
        if root and os.path.commonpath([root, found]) == root:
            raise AudioRestorerError(f"publish: {folder}: lies in the input {source}: choose another output folder")


def sweep_files(items: list[Item], store: Path, kept: set[str | None]) -> None:
    """Delete the store entries that the rows name, except files that are still wanted. Never touches anything outside the store."""
    for item in items:
        for name in {item.path, *(item.stems or {}).values()} - kept:
            if not name or not Path(name).resolve().is_relative_to(store.resolve()):
                continue
            path = Path(name)
            key = path.name.split(".")[0]
            path.with_name(f"{key}.json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
