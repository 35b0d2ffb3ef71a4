"""Which folders may lie in each other: inputs are kept apart from outputs. No torch import.

Two paths are compared by the file system's own identity (device and inode of what exists, names for the rest), so that links, `..`,
relative paths, bind mounts and, where the disk folds it, letter case make no difference.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from audiorestorer.errors import AudioRestorerError, of_the_machine
from audiorestorer.manifest import Item
from audiorestorer.names import as_text, folded

if TYPE_CHECKING:
    from audiorestorer.config import Config

Place: TypeAlias = str | os.PathLike[str] | None
LOOKED_AT = 32  # entries of a folder that are tried for its letter case
# what the pipeline keeps in its artifacts folder: neither an output folder nor a store may be one of these, or lie in it
INTERNALS = (
    "ablation", "compiled", "delivery", "enhancer", "eval", "free_recordings", "logs", "manifests", "models", "published", "report",
    "runs", "store", "trained", "training", "training_audio",
)  # fmt: skip


class _Key(NamedTuple):
    """Device and inode of the nearest thing on the way to a path that exists, and the names below it that do not exist yet."""

    device: int
    inode: int
    rest: tuple[str, ...]


def keep_apart(read: Mapping[str, Place], written: Mapping[str, Place], *, files_beside: bool = True) -> None:
    """Refuse to write over, into or around what is only read. Both map a setting's name to its folder or file; None is left out.

    Args:
        files_beside: a single file that is read may lie in a folder that is written, as a manifest beside what is made of it.

    Raises:
        AudioRestorerError: a written place is a read one, lies in it or holds it; one line that names both settings and both paths.
    """
    for name, path in written.items():
        for other, source in read.items():
            if path is None or source is None or not (how := _relation(path, source)):
                continue
            if not (how == HOLDS and files_beside and os.path.isfile(source)):
                raise AudioRestorerError(
                    f"{name} ({_shown(path)}) {how} {other} ({_shown(source)}): what is read must stay as it is:"
                    f" choose another place for {name}"
                )


def place_for(name: str, folder: Path) -> Path:
    """The nearest folder that exists on the way to an absolute one, which is itself or can be made there, as far as names tell.

    Raises:
        AudioRestorerError: a file or a broken link stands in the way, or a name is too long; one line that begins with `name`.
        OSError: this user may not look there.
    """
    try:
        for place in (folder, *folder.parents):
            subject = f"{name}: {_shown(folder)}:" + (f" {_shown(place)}" if place != folder else "")
            try:
                mode = os.stat(place).st_mode
            except (FileNotFoundError, NotADirectoryError):
                if place.is_symlink():
                    raise AudioRestorerError(f"{subject} is a link to something that is not there") from None
                continue
            if not stat.S_ISDIR(mode):
                raise AudioRestorerError(f"{subject} is a file, not a folder")
            longest = max((len(os.fsencode(part)) for part in folder.relative_to(place).parts), default=0)
            if longest > os.pathconf(place, "PC_NAME_MAX"):
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(folder))
            return place
    except OSError as error:
        if of_the_machine(error):
            raise
        raise AudioRestorerError(f"{name}: {_shown(folder)}: {error.strerror}") from error
    raise AudioRestorerError(f"{name}: {_shown(folder)}: no such folder")


def make(name: str, folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        AudioRestorerError: that is not possible there; one line that begins with `name`.
        OSError: the machine refused (no right, no space).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if of_the_machine(error):
            raise
        raise AudioRestorerError(f"{name}: {_shown(folder)}: cannot be made: {error.strerror}") from error


def keep_out(written: Mapping[str, Place], internals: Mapping[str, Place]) -> None:
    """Refuse a written folder that is, or lies in, one that belongs to something else.

    Raises:
        AudioRestorerError: one line that names both settings and both paths.
    """
    for name, path in written.items():
        for other, taken in internals.items():
            if path is not None and taken is not None and (how := _relation(path, taken)) and how != HOLDS:
                raise AudioRestorerError(
                    f"{name} ({_shown(path)}) {how} {other} ({_shown(taken)}): their files would be mixed:"
                    f" choose another folder for {name}"
                )


def keep_inputs(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises AudioRestorerError: an output file that would replace an input file (its name, or a link to it)."""
    entries = {_entry(path) for path in inputs}
    for target in targets:
        if _entry(target) in entries:
            raise AudioRestorerError(
                f"{_shown(target)}: the output would replace this input: choose another output folder"
            )


def keep_run_apart(config: Config, references: Place, transcripts: Place) -> None:
    """The check of a whole run, before its first job.

    Args:
        references, transcripts: as `pairs.companions` finds them. Where `auto` finds no references, it would in the next run, once
            an output folder has that name.

    Raises:
        AudioRestorerError: two folders of the configuration overlap in a way that would change what is only read, or mix up what is
            written.
    """
    artifacts = Path(config.artifacts)
    store = Path(config.store) if config.store else artifacts / "store"
    training = config.training
    read: dict[str, Place] = {
        "input": config.input,
        "references": references or (Path(config.input).parent / "clean" if config.references == "auto" else None),
        "transcripts": transcripts,
        "evaluate.sentences": config.evaluate.sentences,
        **{f"training.{name}": getattr(training, name) for name in ("stems", "noises", "noisy", "clean", "real")},
        "ablation.clean": config.ablation.clean,
        "enhancer_training.data": config.enhancer_training.data,
        "models_dir": config.models_dir,
    }
    written: dict[str, Place] = {"output": config.output, "artifacts": artifacts, "store": store}
    keep_apart(read, written, files_beside=False)
    own = {f"artifacts' {name}": artifacts / name for name in INTERNALS if name != "store"}
    keep_out({"output": config.output}, {"store": store, **own})
    if config.store:
        keep_out({"store": config.store}, own)
        keep_out({"artifacts": artifacts}, {"store": store})
    if _relation(config.output, artifacts) == SAME:
        raise AudioRestorerError(
            f"output ({_shown(config.output)}) {SAME} artifacts ({_shown(artifacts)}): their files would be mixed:"
            f" choose another folder for output, e.g. {_shown(artifacts / 'output')}"
        )


def keep_rows_apart(items: Iterable[Item], written: Mapping[str, Place], store: Place = None) -> None:
    """Refuse to write over, into or around the recordings that a manifest's rows came from, and their references.

    Args:
        store: recordings in it came out of an archive: they are copies.

    Raises:
        AudioRestorerError: as `keep_apart`.
    """
    roots: dict[Path, str] = {}
    copies: dict[Path, bool] = {}
    for item in items:
        for name, path in (("the recordings", item.noisy), ("the references", item.clean)):
            folder = Path(path or "").parent
            if folder not in copies:
                copies[folder] = store is not None and _relation(folder, store) in (SAME, INSIDE)
            if path and not copies[folder]:
                roots.setdefault(_root(Path(path), item.relative), name)
    for root, name in roots.items():
        if root.exists():
            keep_apart({name: root}, written)


def _root(path: Path, relative: str | None) -> Path:
    """The folder that a recording's relative path begins in; the file itself where its path does not end so.

    A member of an archive may have an absolute name, which no folder holds.
    """
    parts = Path(relative).with_suffix("").parts if relative and not os.path.isabs(relative) else ()
    if 0 < len(parts) <= len(path.parents) and path.with_suffix("").parts[-len(parts) :] == parts:
        return path.parents[len(parts) - 1]
    return path


SAME, INSIDE, HOLDS = "is the same as", "lies in", "holds"


def _relation(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> str:
    """The relation of a path to another one, in words; an empty text: neither holds the other."""
    ways, others = list(_way(path)), list(_way(other))
    if ways[0] == others[0]:
        return SAME
    if others[0] in ways:
        return INSIDE
    return HOLDS if ways[0] in others else ""


def _way(path: str | os.PathLike[str]) -> Iterator[_Key]:
    """The keys of a path and of every folder above it, links followed."""
    real = Path(os.path.realpath(path))
    missing: list[str] = []
    for place in (real, *real.parents):
        if (info := _stat(place)) is None:
            missing.insert(0, place.name)
            continue
        rest = tuple(folded(name) for name in missing) if missing and _folds_case(place) else tuple(missing)
        for depth in range(len(rest), 0, -1):
            yield _Key(info.st_dev, info.st_ino, rest[:depth])
        missing = []
        yield _Key(info.st_dev, info.st_ino, ())


def _entry(path: Path) -> tuple[_Key, str]:
    """The name that a file has in its folder, links followed: what a rename onto it would replace."""
    real = Path(os.path.realpath(path))
    name = folded(real.name) if _folds_case(_existing(real.parent)) else real.name
    return next(_way(real.parent)), name


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if _stat(place))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _folds_case(folder: Path) -> bool:
    """Whether a folder's file system takes `A` and `a` for one name: asked with a name that is there, in it or above it."""
    for place in (folder, *folder.parents):
        try:
            with os.scandir(place) as entries:
                names = [entry.name for entry in islice(entries, LOOKED_AT)]
        except OSError:
            names = []
        for name in names:
            if (other := name.swapcase()) != name:
                return _same_entry(place / name, place / other)
        if os.path.ismount(place):
            break
    return False


def _same_entry(path: Path, other: Path) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.lstat(other))
    except OSError:
        return False


def _shown(path: str | os.PathLike[str]) -> str:
    text = as_text(os.fspath(path))
    return text if text.isprintable() else repr(text)
