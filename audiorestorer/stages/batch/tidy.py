"""tidy: what left the input leaves the output folder too.

The records of what was published (`audiorestorer.published`) are compared with what the run publishes now. A file that nothing of this
input calls for any more goes if it is still exactly what was published and its recording is still there (renamed, excluded, in another
format): it can be made again. Where the recording is gone, the output may be all that is left of it: it stays and is named, as does
what somebody changed. Records of another input are let alone: several may be collected in one output folder. So are files without a
record.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from audiorestorer.config import Stale
from audiorestorer.files import write_json
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.names import folded
from audiorestorer.packed import TAR, archives, holding
from audiorestorer.published import EDITED, Ledger, Record, folder_name

log = logging.getLogger("audiorestorer")

MAX_LOGGED = 20  # files that the log names
GONE = "the recording is gone, this may be all that is left of it"
# the manifest of a shard, and the record of its run time
SHARD_FILE = re.compile(r"(\d+)(\.\w+)*\.(jsonl|work\.json)")


def run(
    manifests: list[Path],
    out_json: Path,
    output: Path,
    ledger: Path,
    source: Path,
    *,
    stale: Stale = "auto",
    deliveries: Path | None = None,
) -> dict[str, Any]:
    """Remove, or name, what earlier runs published and this one does not.

    Args:
        manifests: those of `publish`, of all shards. Shards that are not among them have no file any more: their manifests go.
        stale: auto: what can be made again is removed, the rest named; remove: all is removed; keep: nothing is, all is named.
        deliveries: folder of archives; those that hold a recording that left are named.

    Returns:
        What is in `out_json`: `published` (a number), `kept`, `removed` and `stale` (files that are there and that nothing calls for),
        each a list of `{"file", "reason"}`, and `archives`, a list of names.
    """
    rows = [item for manifest in manifests for item in read_manifest(manifest)]
    records = Ledger(ledger)
    current = _Published(rows, output, folder_name(source))
    removed, left = [], []
    for record in records.records():
        reason = current.reason(record)
        if reason is None:
            continue
        why = EDITED if not record.untouched() else current.why_kept(record, stale)
        if not os.path.lexists(record.path) or current.is_another(record):
            records.drop(record)
        elif why := why or ("it lies in the input" if _inside(record.path, source) else None):
            remedy = ", or --config stale_outputs=remove" if why == GONE else ""
            left.append({"file": str(record.path), "reason": f"{reason}; {why}: delete it yourself{remedy}"})
        else:
            record.remove()
            records.drop(record)
            removed.append({"file": str(record.path), "reason": reason})
    _clear_shards(manifests)
    now = {row.relative for row in rows if row.ok}
    packed = archives(deliveries) if deliveries else []
    if not removed and not left:  # a zip says quickly what it holds, a tar must be read whole
        packed = [path for path in packed if not path.name.endswith(TAR)]
    kept = [{"file": str(row.published), "reason": row.published_kept} for row in rows if row.published_kept]
    result = {
        "output": str(output), "published": sum(row.ok for row in rows) - len(kept), "kept": kept, "removed": removed, "stale": left,
        "archives": [str(path) for path in holding(packed, lambda name: name not in now)],
    }  # fmt: skip
    _log(result)
    write_json(out_json, result)
    return result


class _Published:
    """The files that a run publishes, and why a record is none of them."""

    def __init__(self, rows: list[Item], output: Path, source: str) -> None:
        self.output, self.source, self.folder = folder_name(output), source, output
        self.rows = {row.relative: row for row in rows if row.relative}
        self.contents = {row.noisy_sha256 for row in rows if row.ok and row.noisy_sha256}
        self.wanted = {row.output for row in rows if row.ok and row.output}
        self.alike = {folded(name): name for name in self.wanted}

    def reason(self, record: Record) -> str | None:
        """The reason why nothing calls for a file any more; None where it is wanted, or belongs to another input or output folder."""
        if (record.output, record.input) != (self.output, self.source) or record.target in self.wanted:
            return None
        row = self.rows.get(record.relative)
        if row is None:
            return f"{record.relative or record.id} is no longer of the input"
        return (
            f"{record.relative} goes to {row.output} now"
            if row.ok
            else f"{record.relative} is rejected now: {row.reason}"
        )

    def why_kept(self, record: Record, stale: Stale) -> str | None:
        """The reason why a file that nothing calls for stays, or None."""
        if stale == "keep":
            return "stale_outputs is keep"
        row = self.rows.get(record.relative)
        here = row.ok if row else record.recording in self.contents or (Path(record.input) / record.relative).is_file()
        return None if here or stale == "remove" else GONE

    def is_another(self, record: Record) -> bool:
        """Whether a file is a wanted one under a name of other letter case, on a file system that does not tell them apart."""
        other = self.alike.get(folded(record.target))
        with suppress(OSError):
            return other is not None and record.path.samefile(self.folder / other)
        return False


def _inside(path: Path, source: Path) -> bool:
    root = os.path.realpath(source)
    return os.path.commonpath([root, os.path.realpath(path.parent)]) == root


def _clear_shards(manifests: list[Path]) -> None:
    """Delete all stages' manifests of shards that have no file any more: they name what left the input as if it were in use."""
    numbers = {path.stem for path in manifests}
    for root in {path.parents[1] for path in manifests}:
        for path in root.rglob("*"):
            part = SHARD_FILE.fullmatch(path.name)
            if part and part[1] not in numbers and path.is_file():
                path.unlink()


def _log(result: dict[str, Any]) -> None:
    for name, what in (("removed", "removed"), ("stale", "stays")):
        for entry in result[name][:MAX_LOGGED]:
            log.info("tidy: %s: %s: %s", entry["file"], what, entry["reason"])
        if len(result[name]) > MAX_LOGGED:
            log.info("tidy: and %d more", len(result[name]) - MAX_LOGGED)
    for path in result["archives"]:
        log.warning(
            "tidy: %s holds recordings that left the input: pack it again (snakemake deliver), or delete it", path
        )
    log.info(
        "tidy: %s: %d files published, %d removed, %d kept that are somebody's, %d kept that nothing calls for",
        result["output"], result["published"], len(result["removed"]), len(result["kept"]), len(result["stale"]),
    )  # fmt: skip
