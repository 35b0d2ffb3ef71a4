"""deliver: the cleaned tree as one zip with checksums, reproducible byte for byte."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, inside, read_manifests
from audiorestorer.store import sha256_file

EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the first moment that a zip can hold; the time of day has no place in a reproducible file
COPY_BYTES = 1 << 20


def run(manifests: list[Path], out_zip: Path, extras: list[Path], name: str) -> None:
    """Write `<name>/<tree>` and `<name>/SHA256SUMS` (verify with `sha256sum -c`), plus the files in `extras`, into a zip.

    Audio is stored, not deflated: it hardly shrinks, and unpacking stays fast.

    Raises:
        AudioRestorerError: a finished file is missing, or there is nothing to deliver.
    """
    items = [item for item in read_manifests(manifests) if item.ok]
    if not items:
        raise AudioRestorerError("deliver: no finished file: every input was rejected (see the report)")
    out_zip.parent.mkdir(parents=True, exist_ok=True)
    temporary = out_zip.with_name(f".{out_zip.name}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
            sums = [_add(archive, source, f"{name}/{inner}", inner) for source, inner in _contents(items, extras)]
            info = zipfile.ZipInfo(f"{name}/SHA256SUMS", EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, "".join(sums))
        temporary.replace(out_zip)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"deliver: {len(items)} files, {out_zip.stat().st_size / 1e6:.1f} MB: {out_zip}", file=sys.stderr)


def _contents(items: Iterable[Item], extras: list[Path]) -> Iterable[tuple[Path, str]]:
    for item in sorted(items, key=lambda item: item.output or ""):
        assert item.path and item.output
        inside(Path(), item.output)
        yield Path(item.path), item.output
    for path in extras:
        yield path, path.name


def _add(archive: zipfile.ZipFile, source: Path, member: str, inner: str) -> str:
    """Stream a file into the archive; returns its line of SHA256SUMS (GNU coreutils escapes `\\` and newlines in names)."""
    info = zipfile.ZipInfo(member, EPOCH)
    info.external_attr = 0o644 << 16
    try:
        info.file_size = source.stat().st_size
        with open(source, "rb") as file, archive.open(info, "w", force_zip64=True) as out:
            shutil.copyfileobj(file, out, COPY_BYTES)
        digest = sha256_file(source)
    except FileNotFoundError as error:
        raise AudioRestorerError(f"deliver: {source}: finished file is missing; run the pipeline again") from error
    escaped = inner.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{chr(92) if escaped != inner else ''}{digest}  {escaped}\n"
