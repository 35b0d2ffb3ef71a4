"""publish: fill the user's output folder with the finished files, mirroring the input tree."""

from __future__ import annotations

from pathlib import Path

from audiorestorer.errors import AGAIN
from audiorestorer.manifest import Item, inside, read_manifest, write_manifest
from audiorestorer.stages.inputs import InputDamaged, checked
from audiorestorer.stages.shard import StageFailed
from audiorestorer.store import place


def run(in_manifest: Path, out_manifest: Path, output: Path, sweep: list[Path], store: Path) -> list[Item]:
    """Link one shard's finished files into the output folder.

    Args:
        sweep: manifests of intermediate stages whose files are deleted now (`keep_intermediates: false`).

    Raises:
        StageFailed: a finished file is not what was measured any more; the others are published.
    """
    rows, damaged = [], []
    for item in read_manifest(in_manifest):
        if item.ok:
            assert item.path and item.output
            target = inside(output, item.output)
            try:
                with checked(item.updated(noisy=item.path, clean=None), store):
                    if not (target.exists() and target.samefile(item.path)):
                        place(Path(item.path), target)
            except InputDamaged as error:
                damaged.append(f"{item.id}: {error}")
                target.unlink(missing_ok=True)  # a link to the same damaged file
                continue
            item = item.updated(published=str(target))
        rows.append(item)
    if damaged:
        in_manifest.unlink()
        raise StageFailed(
            f"publish: {len(damaged)} files are damaged, the others are published; {AGAIN}: they are made again:\n  "
            + "\n  ".join(damaged)
        )
    write_manifest(out_manifest, rows)
    kept = {item.path for item in rows}
    for manifest in sweep:
        sweep_files(read_manifest(manifest), store, kept)
    return rows


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
