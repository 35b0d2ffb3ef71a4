"""deliver: the cleaned tree as one archive or several, with manifest, licences and checksums; equal input gives equal bytes.

Every part unpacks by itself with unzip or tar, on Windows too: names that it cannot hold are changed (`names.tsv` lists them).
`<name>.sha256` beside them is written last and lists the parts.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import zstandard

from audiorestorer.config import DeliverSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import cell, inside, read_json, write_text_atomic
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.packed import EPOCH, EPOCH_SEC, is_delivery
from audiorestorer.report.summary import models_table
from audiorestorer.store import sha256_file
from audiorestorer.windows_names import mapped

log = logging.getLogger("audiorestorer")

MODE = 0o644
COPY_BYTES = 1 << 20
ZSTD_LEVEL = 3
ROW_FIELDS = ("relative", "noisy_sha256", "duration", "sr", "channels")
ZIP_HEADERS = 30 + 46 + 64  # bytes per member: local and central header, zip64 fields
TAR_BLOCK = 512
ZSTD_GROWTH = 1 / 256  # zstd.h, ZSTD_COMPRESSBOUND
ARCHIVE_ENDS = 20_000  # manifest's and checksums' headers, a tar's last record of 10,240 bytes
NAMES = "names.tsv"
REJECTED = "rejected.jsonl"
LICENCES = "LICENCES.md"
PART_FILE = re.compile(r"(manifest(\.\d+)?\.jsonl|SHA256SUMS(\.\d+)?)", re.IGNORECASE)
MAX_NAMES = 3  # names in a message
REMEDY = "run `python -m audiorestorer store verify`, then the same snakemake command"
Add: TypeAlias = Callable[[str, int, "_Hashing"], None]  # name, size, bytes


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive: its path below the archive's folder, and where its bytes come from. `row` is its line of the manifest."""

    inner: str
    source: Path | bytes
    size: int
    sha256: str
    row: str = ""


def run(
    manifests: Sequence[Path], folder: Path, settings: DeliverSettings, extras: list[Path], models: list[Path]
) -> None:
    """Write `<name>.zip` (or `<name>.001.zip`, ... below `max_size`; or `.tar.zst`) and `<name>.sha256` into a folder.

    Each part holds `<name>/<tree>`, a manifest, `LICENCES.md` and `SHA256SUMS` (verify with `sha256sum -c`); `extras` and the list
    of rejected files are in the first. In a zip the audio is stored, not deflated: it hardly shrinks, and unpacking stays fast.

    Args:
        models: records of the models that made the files (`fetch-model`).

    Raises:
        AudioRestorerError: a finished file is missing or damaged, one is larger than a part may be, there is nothing to deliver, or
            something else has an archive's name.
    """
    items, rejected = _finished(manifests)
    if not items:
        raise AudioRestorerError("deliver: no finished file: every input was rejected (see the report)")
    names = _names([str(item.output) for item in items], [path.name for path in extras], settings)
    audio = sorted((_member(item, names) for item in items), key=lambda member: member.inner)
    licences = _text(LICENCES, _licences([read_json(path) for path in models]))
    first = [_on_disk(path.name, path) for path in extras]
    if rejected:
        first.append(_text(REJECTED, "".join(rejected)))
    if names:
        first.append(_text(NAMES, _table(names)))
    parts = _split(first, audio, licences, settings)
    tags = [""] if len(parts) == 1 else [f".{number:03d}" for number in range(1, len(parts) + 1)]
    folder.mkdir(parents=True, exist_ok=True)
    archives = [f"{settings.name}{tag}.{settings.format}" for tag in tags]
    for name in archives:
        if os.path.lexists(folder / name) and not is_delivery(folder / name):
            raise AudioRestorerError(
                f"deliver: {folder / name}: no delivery of this project, or a damaged one: move it, or choose another deliver.name"
            )
    _clear(folder, rf"\.{settings.name}(\.\d+)?\.(zip|tar\.zst)\.tmp", keep=())
    written = [_write(folder, settings, tag, [*members, licences]) for tag, members in zip(tags, parts, strict=True)]
    sums = [checksum_line(sha256_file(path), name) for path, name in zip(written, archives, strict=True)]
    for path, name in zip(written, archives, strict=True):
        path.replace(folder / name)
    _clear(folder, rf"{settings.name}(\.\d+)?\.(zip|tar\.zst)", keep=archives, only=is_delivery)
    write_text_atomic(folder / f"{settings.name}.sha256", "".join(sums))
    size = sum((folder / name).stat().st_size for name in archives)
    log.info(
        "deliver: %d files, %.1f MB in %d archives: %s", len(audio), size / 1e6, len(archives), folder / archives[0]
    )


def checksum_line(digest: str, name: str) -> str:
    """A line that `sha256sum -c` takes: GNU coreutils escapes backslash and newline in a name."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"


def _finished(manifests: Iterable[Path]) -> tuple[list[Item], list[str]]:
    """The finished files' rows, and a line for each rejected one."""
    finished, rejected = [], []
    for manifest in manifests:
        for item in read_manifest(manifest):
            if item.ok:
                finished.append(item)
            else:
                rejected.append(_json({"input": item.relative or item.noisy, "reason": item.reason}))
    return finished, sorted(rejected)


def _names(outputs: list[str], extras: list[str], settings: DeliverSettings) -> dict[str, str]:
    """Map each path that Windows cannot hold to its path in the archive; the log names those that stay as they are."""
    tops = {output.split("/")[0] for output in outputs}
    taken = {NAMES, REJECTED, LICENCES, *extras, *filter(PART_FILE.fullmatch, tops)}
    renamed = mapped(outputs, below=settings.name, taken=taken)
    names = {old: new for old, new in renamed.items() if old != new}
    if not names:
        return {}
    shown = ", ".join(repr(name) for name in list(names)[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    if settings.windows_names == "keep":
        log.warning("deliver: Windows cannot unpack %d names (windows_names: map changes them): %s", len(names), shown)
        return {}
    log.info("deliver: %d names that Windows cannot hold are changed, see %s: %s", len(names), NAMES, shown)
    return names


def _table(names: dict[str, str]) -> str:
    """The changed names, tab-separated and quoted as spreadsheets do."""
    text = io.StringIO()
    writer = csv.writer(text, "excel-tab", lineterminator="\n")
    writer.writerows([("original", "name"), *((cell(old), cell(new)) for old, new in sorted(names.items()))])
    return text.getvalue()


def _member(item: Item, names: dict[str, str]) -> Member:
    assert item.path and item.output
    inside(Path(), item.output)
    plain = _on_disk(names.get(item.output, item.output), Path(item.path), item.sha256)
    row: dict[str, Any] = {"path": plain.inner, "bytes": plain.size, "sha256": plain.sha256}
    row |= {"original": item.output} if item.output in names else {}
    row |= {name: getattr(item, name) for name in ROW_FIELDS if getattr(item, name) is not None}
    return Member(plain.inner, plain.source, plain.size, plain.sha256, _json(row))


def _on_disk(inner: str, path: Path, sha256: str | None = None) -> Member:
    try:
        return Member(inner, path, path.stat().st_size, sha256 or sha256_file(path))
    except FileNotFoundError as error:
        raise AudioRestorerError(f"deliver: {path}: finished file is missing: {REMEDY}") from error


def _text(inner: str, text: str) -> Member:
    content = text.encode()
    return Member(inner, content, len(content), hashlib.sha256(content).hexdigest())


def _json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=True, sort_keys=True) + "\n"


def _licences(models: list[dict[str, Any]]) -> str:
    return (
        "# Licences\n\nThe recordings stay under the terms of their owner. They were restored by AudioRestorer"
        f" {_version()} (MIT, which asks nothing of its output) with these models:\n\n{models_table(models)}"
    )


def _version() -> str:
    try:
        return metadata.version("audiorestorer")
    except metadata.PackageNotFoundError:
        return "from its source tree"


def _split(first: list[Member], audio: list[Member], licences: Member, settings: DeliverSettings) -> list[list[Member]]:
    """Fill the parts in order, each member counted with the most that it can take, so that no part is above the limit."""
    if settings.max_bytes is None:
        return [first + audio]
    empty = settings.max_bytes - ARCHIVE_ENDS - _most(licences, settings)
    parts, room = [list(first)], empty - sum(_most(member, settings) for member in first)
    if room < 0:
        raise AudioRestorerError(
            f"deliver: max_size {settings.max_size} is too small for the metrics and licences alone"
        )
    for member in audio:
        need = _most(member, settings)
        if need > empty:
            raise AudioRestorerError(
                f"deliver: {member.inner}: {member.size / 1e6:.1f} MB do not fit into a part of {settings.max_size}:"
                " raise deliver.max_size"
            )
        if need > room:
            parts.append([])
            room = empty
        parts[-1].append(member)
        room -= need
    return parts


def _most(member: Member, settings: DeliverSettings) -> float:
    """The most bytes that a member can add to an archive, its lines in manifest and checksums included."""
    name = len(f"{settings.name}/{member.inner}".encode("utf-8", "surrogateescape"))
    lines = len(member.row) + 70 + 2 * name
    if settings.format == "zip":
        return member.size + ZIP_HEADERS + 2 * name + lines
    blocks = TAR_BLOCK * (4 + -(-member.size // TAR_BLOCK)) + 2 * name + lines
    return blocks * (1 + ZSTD_GROWTH)


def _write(folder: Path, settings: DeliverSettings, tag: str, members: list[Member]) -> Path:
    """Write one part under a temporary name, with its manifest and checksums."""
    members = [*members, _text(f"manifest{tag}.jsonl", "".join(member.row for member in members))]
    sums = _text(f"SHA256SUMS{tag}", "".join(checksum_line(member.sha256, member.inner) for member in members))
    temporary = folder / f".{settings.name}{tag}.{settings.format}.tmp"
    try:
        with open(temporary, "wb") as file:
            with (_zip if settings.format == "zip" else _tar_zst)(file) as add:
                for member in [*members, sums]:
                    _add(add, f"{settings.name}/{member.inner}", member)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _add(add: Add, name: str, member: Member) -> None:
    """Stream a file into the archive; raise an error if its bytes are not those with which it was made."""
    digest = hashlib.sha256()
    try:
        with io.BytesIO(member.source) if isinstance(member.source, bytes) else open(member.source, "rb") as file:
            add(name, member.size, _Hashing(file, digest))
    except FileNotFoundError as error:
        raise AudioRestorerError(f"deliver: {member.source!s}: finished file is missing: {REMEDY}") from error
    except UnicodeEncodeError as error:
        raise AudioRestorerError(
            f"deliver: {name!r}: a zip cannot hold this name: take deliver.format tar.zst"
        ) from error
    if digest.hexdigest() != member.sha256:
        raise AudioRestorerError(
            f"deliver: {member.source!s}: not what the pipeline wrote (damaged or edited): {REMEDY}"
        )


class _Hashing:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: BinaryIO, digest: hashlib._Hash) -> None:
        self.file, self.digest = file, digest

    def read(self, size: int = -1) -> bytes:
        block = self.file.read(size)
        self.digest.update(block)
        return block


@contextmanager
def _zip(file: BinaryIO) -> Iterator[Add]:
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:

        def add(name: str, size: int, source: _Hashing) -> None:
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr, info.file_size = MODE << 16, size
            with archive.open(info, "w") as out:
                shutil.copyfileobj(source, out, COPY_BYTES)

        yield add


@contextmanager
def _tar_zst(file: BinaryIO) -> Iterator[Add]:
    packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    with (
        packer.stream_writer(file, closefd=False) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):

        def add(name: str, size: int, source: _Hashing) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = size, MODE, EPOCH_SEC
            archive.addfile(info, source)  # reads only
            archive.members.clear()  # type: ignore[attr-defined]  # else it holds every member until the end

        yield add


def _clear(folder: Path, pattern: str, keep: Iterable[str], only: Callable[[Path], bool] = lambda path: True) -> None:
    """Delete an earlier delivery's archives, so that what lies there is what the checksums list."""
    for path in folder.iterdir():
        if re.fullmatch(pattern, path.name) and path.name not in keep and only(path):
            path.unlink()
