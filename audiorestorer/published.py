"""The ledger of what was put into output folders: what is ours there may be replaced or removed, what is somebody's may not.

A record a file, `<ledger>/<hash of folder and name>.json`, whatever the shards are. It is written just before a file takes its name,
and knows the content before it too: a job that is killed between the two leaves nothing that looks like a stranger's. Sizes and times
only spare the reading of what need not be touched: before a file is replaced or removed its content is hashed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import inside, named_from, write_text_atomic
from audiorestorer.manifest import Item
from audiorestorer.store import place, sha256_file

log = logging.getLogger("audiorestorer")

HIDDEN = ".published"  # the ledger of commands that have no folder of artifacts, in their store
TAKE_OURS = "to have ours, move or delete it and run the same command again"
EDITED = "it was changed after it was published"
FOREIGN = "it is not a file that was published here"


@dataclass(frozen=True)
class Record:
    """A file in an output folder. `output` and `input` are folders, `target` is relative to `output`, `relative` to `input`;
    `recording` is the SHA-256 of the recording that it was made of."""

    output: str
    target: str
    sha256: str
    size: int
    mtime_ns: int
    before: str | None = None  # the content that it replaced
    id: str = ""
    relative: str = ""
    input: str = ""
    recording: str = ""

    @property
    def path(self) -> Path:
        return inside(Path(self.output), self.target)

    def unread(self, info: os.stat_result) -> bool:
        """Whether size and time are as they were left."""
        return (info.st_size, info.st_mtime_ns) == (self.size, self.mtime_ns)

    def untouched(self) -> bool:
        """Whether the file is one that we put there, by its content."""
        with suppress(OSError):
            return stat.S_ISREG(os.lstat(self.path).st_mode) and sha256_file(self.path) in (self.sha256, self.before)
        return False

    def remove(self) -> None:
        """Delete the file, and the folders that it leaves empty; never the output folder."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            for parent in list(Path(self.target).parents)[:-1]:
                (Path(self.output) / parent).rmdir()


@dataclass
class Ledger:
    """The records in a folder. Safe for several jobs at once: each writes the records of its own files."""

    folder: Path

    def file_of(self, output: str, target: str) -> Path:
        digest = hashlib.sha256(f"{output}\0{target}".encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / f"{digest[:32]}.json"

    def get(self, output: str, target: str) -> Record | None:
        return _read(self.file_of(output, target))

    def put(self, record: Record) -> None:
        text = json.dumps(asdict(record), sort_keys=True)
        write_text_atomic(self.file_of(record.output, record.target), text + "\n")

    def drop(self, record: Record) -> None:
        self.file_of(record.output, record.target).unlink(missing_ok=True)

    def records(self) -> Iterator[Record]:
        """All records; damaged ones are deleted with a warning (the next publishing of such a file knows it by its content)."""
        for path in sorted(self.folder.glob("*.json")):
            record = _read(path)
            if record is not None and self.file_of(record.output, record.target) == path:
                yield record
            elif path.exists():
                log.warning("%s: damaged: deleted; what it was for is not removed when its recording goes", path)
                path.unlink(missing_ok=True)


def _read(path: Path) -> Record | None:
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
        inside(Path(record.output), record.target)
    except (OSError, ValueError, TypeError, AudioRestorerError):
        return None
    return record


def folder_name(path: str | Path) -> str:
    """The name of a folder in records: relative below the working folder, so that it stays right where that is moved or copied."""
    return named_from(Path(path), Path.cwd())


@dataclass
class Finished:
    """The contents that a stage's folder in the store holds: made by us, though no record says so (versions without a ledger)."""

    folder: Path

    @cached_property
    def _by_start(self) -> dict[str, list[Path]]:
        by_start: dict[str, list[Path]] = {}
        for path in self.folder.glob("??/*.*.*"):
            by_start.setdefault(path.name.split(".")[1], []).append(path)
        return by_start

    def holds(self, sha256: str) -> bool:
        for path in self._by_start.get(sha256[:8], []):
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                text = path.with_name(f"{path.name.split('.')[0]}.json").read_text(encoding="utf-8")
                if any(meta["sha256"] == sha256 for meta in json.loads(text)["files"].values()):
                    return True
        return False


@dataclass
class Publisher:
    """Puts finished files into an output folder.

    Attributes:
        source: the input's folder, as records name it.
        replace_edited: somebody's files are replaced too.
        kept, replaced, others: by name why a file of somebody's stayed or was replaced, and which file of another run was.
        edited: names of files that somebody changed and to which we have nothing newer.
    """

    ledger: Ledger
    output: Path
    finished: Finished
    source: str = ""
    replace_edited: bool = False
    kept: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    edited: list[str] = field(default_factory=list)

    @cached_property
    def folder(self) -> str:
        return folder_name(self.output)

    def put(
        self, name: str, finished: Path, sha256: str, item_id: str = "", relative: str = "", recording: str = ""
    ) -> str | None:
        """Put a finished file under its name, unless somebody's file has it.

        Args:
            name: relative path below the output folder.
            sha256: of `finished`.

        Returns:
            Why somebody's file was kept instead of ours; None where ours is there, or somebody's edit of this very content.

        Raises:
            OSError: the machine refused.
        """
        target = inside(self.output, name)
        record = self.ledger.get(self.folder, name)
        new = Record(self.folder, name, sha256, 0, 0, None, item_id, relative, self.source, recording)
        if blocked := in_the_way(self.output, target):
            return self._keep(name, f"{blocked} is no folder")
        if os.path.lexists(target):
            info = os.lstat(target)
            linked = stat.S_ISREG(info.st_mode) and _one_file(finished, target)
            if record and record.sha256 == sha256 and record.unread(info) and not linked:
                self._note(new, record, info)
                return None
            content = sha256_file(target) if target.is_file() and not linked else None
            if content == sha256:
                self._note(new, record, info)
                return None
            reason = None if linked else self._somebodys(name, info, content, record)
            if reason and not (self.replace_edited and stat.S_ISREG(info.st_mode)):
                if record is None or record.sha256 != sha256:
                    return self._keep(name, reason)
                self.edited.append(name)  # an edit of the very content that we have
                return None
            if reason:
                self.replaced[name] = reason
        before = record.sha256 if record else None
        place(
            finished,
            target,
            lambda info: self.ledger.put(replace(new, size=info.st_size, mtime_ns=info.st_mtime_ns, before=before)),
        )
        return None

    def placed(self, item: Item) -> Item:
        """`put` for a finished item. The row gets `published`, our file; with `published_kept`, the reason, what has its name."""
        assert item.path and item.output
        path = Path(item.path)
        content = item.sha256 or sha256_file(path)
        reason = self.put(item.output, path, content, item.id, item.relative or "", item.noisy_sha256 or "")
        target = inside(self.output, item.output)
        if reason is None:
            return item.updated(published=str(target))
        return item.updated(published=str(in_the_way(self.output, target) or target), published_kept=reason)

    def _keep(self, name: str, reason: str) -> str:
        self.kept[name] = reason
        return reason

    def _note(self, new: Record, old: Record | None, info: os.stat_result) -> None:
        """The record of a file that is there with our content; written where it says something new."""
        record = replace(new, size=info.st_size, mtime_ns=info.st_mtime_ns, before=old.before if old else None)
        if record != old:
            self.ledger.put(record)

    def _somebodys(self, name: str, info: os.stat_result, content: str | None, record: Record | None) -> str | None:
        """Why a file is not ours to replace, or None."""
        if not stat.S_ISREG(info.st_mode):
            return f"{FOREIGN} (a {'link' if stat.S_ISLNK(info.st_mode) else 'folder or a device'})"
        if content is None:
            return FOREIGN
        if record and content in (record.sha256, record.before):
            if record.relative and record.input != self.source:
                self.others[name] = f"what was made of {record.relative} in {record.input}"
            return None
        if self.finished.holds(content):
            self.others[name] = "what an earlier run made"
            return None
        return EDITED if record else FOREIGN

    def told(self, command: str, most: int, remedy: str) -> None:
        """Say what was kept and what was replaced, so many names each."""
        groups = (self.kept, f"kept: {remedy}"), (self.replaced, "replaced, as asked for"), (self.others, "replaced")
        for names_with_reason, what in groups:
            for name, reason in list(names_with_reason.items())[:most]:
                log.warning("%s: %s: %s: %s", command, self.output / name, reason, what)
            if len(names_with_reason) > most:
                log.warning("%s: and %d more of %s", command, len(names_with_reason) - most, self.output)
        if self.edited:
            names = ", ".join(self.edited[:3]) + (", ..." if len(self.edited) > 3 else "")
            log.info(
                "%s: %d files were changed after they were published, and stay so: %s", command, len(self.edited), names
            )


def _one_file(path: Path, other: Path) -> bool:
    """Whether two names are one file: an output of an earlier version is a link to the store's."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def in_the_way(output: Path, target: Path) -> Path | None:
    """The file that has the name of one of a target's folders, so that the folder cannot be made; None: there is none."""
    for parent in reversed(target.relative_to(output).parents[:-1]):
        if os.path.lexists(output / parent) and not (output / parent).is_dir():
            return output / parent
    return None
