"""A zip of a batch's output, made while it is sent: it is neither in memory nor on the disk."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from audiorestorer.windows_names import mapped

BLOCK_BYTES = 1 << 20


class _Sink:
    """A file that can only be written to, and keeps what was written until it is taken."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.position = 0

    def write(self, data: bytes) -> int:
        self.blocks.append(bytes(data))
        self.position += len(data)
        return len(data)

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        pass

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        data = b"".join(self.blocks)
        self.blocks.clear()
        return data


def outputs(folder: Path) -> list[str]:
    """The relative paths of the files of an output folder, sorted; hidden files and links are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(place, name) for name in names if not name.startswith(".")]
        found += [str(path.relative_to(folder)) for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)


def zipped(folder: Path, top: str) -> Iterator[bytes]:
    """The blocks of a zip of an output folder; its names are such as Windows can hold, below the folder `top`."""
    relatives = outputs(folder)
    names = mapped(relatives, below=top)
    sink = _Sink()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_STORED) as archive:
        for relative in relatives:
            path = folder / relative
            with open(path, "rb") as source:
                info = zipfile.ZipInfo.from_file(path, f"{top}/{names[relative]}", strict_timestamps=False)
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=info.file_size > zipfile.ZIP64_LIMIT // 2) as member:
                    while block := source.read(BLOCK_BYTES):
                        member.write(block)
                        yield sink.take()
            yield sink.take()
    yield sink.take()
