"""The one of many names that another name means: its own spelling first, then ever looser ones, where exactly one fits. Reads no file.

Names of files travel between systems that write them differently: a Mac decomposes letters (NFD), a table was typed on another machine
(NFC), Windows ignores letter case and has backslashes, a list may leave out the extension or name the recording's other format.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from audiorestorer.left_out import OTHER_AUDIO, TAKEN
from audiorestorer.tables import INVISIBLE

SUFFIXES = OTHER_AUDIO.union(TAKEN)
AROUND = INVISIBLE + " \t\r\n\xa0"
QUOTES = "\"'`\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
EXACT, TIDIED = 0, 1  # steps; looser ones follow


class Match(NamedTuple):
    """`partner` is the name meant, at a `step` of looseness. None is where `several` fit alike, or one that fits `rivals` alike."""

    partner: str | None = None
    step: int = EXACT
    several: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def alike(name: str) -> str:
    """The common form of a name's spellings that look the same: normal form, width and letter case aside."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def tidied(name: str) -> str:
    """A path as a table may write it: no spaces and quotes around it, `/` between its parts, no `./`."""
    if name.isascii() and name.isidentifier():
        return name
    inside = name.strip(AROUND).strip(QUOTES).strip(AROUND)
    return posixpath.normpath(re.sub(r"[\\/]+", "/", inside)) if inside else ""


def stem(name: str) -> str:
    """A name without its extension, where that is one of a recording."""
    base, suffix = posixpath.splitext(name)
    return base if suffix.lower() in SUFFIXES else name


def spellings(name: str, folders: Collection[str]) -> list[str]:
    """A path tidied, and what of it follows a folder of these names (as `alike` writes them): absolute paths, `input/a.wav`."""
    tidy = tidied(name)
    parts = tidy.split("/")
    return [tidy, *("/".join(parts[i + 1 :]) for i, part in enumerate(parts[:-1]) if alike(part) in folders)]


class Names:
    """Names to choose from. Looser spellings are worked out once, when a name is first not found as it stands."""

    def __init__(self, names: Iterable[str], suffixes: Sequence[str] = ()) -> None:
        """`suffixes`: where names differ in nothing but these, the first one counts; without them, none does."""
        self.names = dict.fromkeys(names)
        self.suffixes = suffixes

    @cached_property
    def _steps(self) -> list[dict[str, list[str]]]:
        tidy = {name: tidied(name) for name in self.names}
        bare = {name: stem(path) for name, path in tidy.items()}
        return [
            _grouped(tidy),
            _grouped({name: composed(path) for name, path in tidy.items()}),
            _grouped({name: alike(path) for name, path in tidy.items()}),
            _grouped(bare),
            _grouped({name: composed(path) for name, path in bare.items()}),
            _grouped({name: alike(path) for name, path in bare.items()}),
        ]

    def find(self, name: str, folders: Collection[str] = ()) -> Match:
        """The name that is meant by another one, which may begin with one of these folders."""
        if name in self.names:
            return Match(name)
        paths = [path for path in spellings(name, folders) if path]
        steps = enumerate(self._steps, TIDIED)
        for shorten in (list, _with_stems):
            tried = shorten(paths)
            for letters in (str, composed, alike):
                step, known = next(steps)
                for path in tried:
                    if fitting := known.get(letters(path)):
                        return self._match(fitting, step)
        return Match()

    def _match(self, fitting: list[str], step: int) -> Match:
        if len(fitting) > 1 and self.suffixes and len({stem(tidied(name)) for name in fitting}) == 1:
            by_suffix = _grouped({name: posixpath.splitext(name)[1].lower() for name in fitting})
            fitting = next((by_suffix[suffix] for suffix in self.suffixes if suffix in by_suffix), fitting)
        return Match(fitting[0], step) if len(fitting) == 1 else Match(None, step, tuple(sorted(fitting)))


def _with_stems(paths: list[str]) -> list[str]:
    return list(dict.fromkeys([*paths, *map(stem, paths)]))


def _grouped(keys: dict[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, key in keys.items():
        groups.setdefault(key, []).append(name)
    return groups


def partners(wanted: Iterable[str], names: Names) -> dict[str, Match]:
    """The partner of each name. One that is another's by a stricter spelling is none; one that two fit alike has `rivals`.

    Names that differ in their extension alone may share a partner.
    """
    matches = {name: names.find(name) for name in wanted}
    claims: dict[str, list[str]] = {}
    for name, match in matches.items():
        if match.partner is not None:
            claims.setdefault(match.partner, []).append(name)
    for partner, rivals in claims.items():
        if len(rivals) == 1:
            continue
        strictest = min(matches[name].step for name in rivals)
        best = {stem(name) for name in rivals if matches[name].step == strictest}
        for name in rivals:
            if len(best) > 1:
                matches[name] = Match(None, strictest, (partner,), tuple(sorted(rivals)))
            elif stem(name) not in best:
                matches[name] = Match()
    return matches
