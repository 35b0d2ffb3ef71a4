"""Names of files as Windows can hold them: what a client unpacks there must neither fail, nor merge two files, nor lose a folder.

Refused there: `< > : " | ? * \\` and control characters, a dot or a space at the end of a file's or folder's name, names of devices
(CON, NUL, COM1, whatever their suffix), names that differ by letter case alone, names above 255 UTF-16 units, and, by most programs,
paths above 260 with the drive and folder that a user unpacks into.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from itertools import count
from pathlib import PurePosixPath

from audiorestorer.names import folded

NAME_UNITS = 255
PATH_UNITS = 240  # leaves 20 for the place where it is unpacked
SHORT_UNITS = 24  # what folders of too long a path are cut to
LEAST_UNITS = 32  # of a file's name that is cut
DEEP = "_deep"  # the folder of files whose path is too long however it is cut
FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')
DEVICE = re.compile(r"CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]", re.IGNORECASE)


def units(text: str) -> int:
    """Length as Windows counts it, in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def device_of(name: str) -> str | None:
    """The device that Windows takes a name for; what follows the first dot does not matter."""
    start = name.split(".")[0].rstrip(" ")
    return start if DEVICE.fullmatch(start) else None


def mapped(paths: Iterable[str], *, below: str = "", taken: Collection[str] = ()) -> dict[str, str]:
    """A path that Windows can hold for each relative path; the same where it can.

    The tree is kept (but for paths that are too long with all folders cut: they go to `_deep`), no two paths become one, and equal
    paths give equal results.

    Args:
        below: the folder that all lie in, whose length counts.
        taken: names at the top that are used otherwise.
    """
    ordered = sorted(set(paths))
    room = PATH_UNITS - (units(below) + 1 if below else 0)
    tree = _Tree(ordered, taken)
    crowded = [path for path in ordered if tree.room_for_name(path, room) < min(LEAST_UNITS, units(tree.name(path)))]
    if crowded:
        tree = _Tree(ordered, taken, {folder for path in crowded for folder in _folders(path)})
    return {path: tree.fitted(path, room) for path in ordered}


def _folders(path: str) -> list[str]:
    """The folders of a path, the outermost first, each with a slash at its end."""
    return [f"{folder}/" for folder in reversed(PurePosixPath(path).parents[:-1])] if "/" in path else []


class _Tree:
    """Every folder (a key that ends in `/`) and file of the paths with its new path; names that need no change have precedence."""

    def __init__(self, paths: list[str], taken: Collection[str], cut: Collection[str] = ()) -> None:
        children: dict[str, set[str]] = {}
        for path in paths:
            steps = ["", *_folders(path), path]
            for parent, child in zip(steps, steps[1:], strict=False):
                children.setdefault(parent, set()).add(child)
        self.used: dict[str, set[str]] = {"": {folded(name) for name in taken}}
        self.new: dict[str, str] = {"": ""}
        todo = [""]
        while todo:
            parent = todo.pop()
            names = sorted(children.get(parent, ()), key=lambda child: (_clean(_last(child)) != _last(child), child))
            for child in names:
                limit = SHORT_UNITS if child in cut else NAME_UNITS
                name = self._free(parent, child, _clean(_last(child)), limit)
                self.new[child] = f"{self.new[parent]}{name}{'/' if child.endswith('/') else ''}"
            todo += [child for child in names if child.endswith("/")]

    def _free(self, parent: str, child: str, name: str, limit: int) -> str:
        """A name that no other in its folder has: with a hash of the path where it is taken or too long."""
        used = self.used.setdefault(parent, set())
        digest = hashlib.sha256(child.encode("utf-8", "surrogateescape")).hexdigest()
        free, marks = name, 8
        while folded(free) in used or units(free) > limit:
            free = _marked(name, digest[:marks], limit, whole=child.endswith("/"))
            marks += 4
        used.add(folded(free))
        return free

    def name(self, path: str) -> str:
        return self.new[path].rpartition("/")[2]

    def room_for_name(self, path: str, room: int) -> int:
        return room - units(self.new[path]) + units(self.name(path))

    def fitted(self, path: str, room: int) -> str:
        """The new path, with its name cut where it is too long."""
        new = self.new[path]
        if units(new) <= room:
            return new
        parent, limit = (_folders(path) or [""])[-1], self.room_for_name(path, room)
        if limit < LEAST_UNITS:
            names = (f"{DEEP}{number or ''}" for number in count())
            deep = next(name for name in names if folded(name) not in self.used[""])
            return f"{deep}/{self._free(f'{deep}/', path, self.name(path), room - units(deep) - 1)}"
        return f"{self.new[parent]}{self._free(parent, path, self.name(path), limit)}"


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _clean(name: str) -> str:
    """A name without what Windows refuses; a character for each that goes."""
    name = FORBIDDEN.sub("_", name)
    ended = name.rstrip(" .")
    name = ended + "_" * (len(name) - len(ended))
    device = device_of(name)
    return f"{device}_{name[len(device) :]}" if device else name


def _marked(name: str, mark: str, limit: int, *, whole: bool) -> str:
    """A name with a hash at the end of its stem, cut to so many units. `whole`: it has no suffix."""
    suffix = "" if whole else PurePosixPath(name).suffix
    stem = name.removesuffix(suffix) if suffix else name
    room = max(0, limit - units(f"~{mark}{suffix}"))
    cut = stem.encode("utf-16-le", "surrogatepass")[: 2 * room].decode("utf-16-le", "ignore")
    return f"{cut}~{mark}{suffix}"
