"""What a licence says of commercial use: the one place that decides it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Use = Literal["allowed", "forbidden", "unclear"]
WORDS: Mapping[Use, str] = {
    "allowed": "commercial use allowed",
    "forbidden": "no commercial use",
    "unclear": "commercial use is unclear",
}
NON_COMMERCIAL = re.compile(r"\bNC\b|non[- ]?commercial", re.IGNORECASE)
# Names of licences that allow it, with their versions; a name that ends in -NC was looked for before.
FREE = re.compile(
    r"(MIT|ISC|Zlib|Unlicense|Apache|BSD|MPL|[AL]?GPL|CC0|CC-BY(-SA)?)([- ]v?\d+([.-]\d+)*)?(-Clause|-only|-or-later|\+)?",
    re.IGNORECASE,
)


def commercial_use(licence: str | None, said: Use | None = None) -> Use | None:
    """Whether a licence allows commercial use; None: nobody says, and the licence's name does not tell.

    Args:
        licence: its name, as `MIT`, `GPL-2+, GFDL-1.3` or `MIT or Apache-2.0`. A text with further words allows nothing: the words may
            be a condition.
        said: what the registry says; it counts before the name.
    """
    if said is not None:
        return said
    text = (licence or "").strip()
    if NON_COMMERCIAL.search(text):
        return "forbidden"
    names = re.split(r"\s*,\s*|\s+(?:or|and)\s+", text, flags=re.IGNORECASE)
    return "allowed" if all(FREE.fullmatch(name) for name in names) else None
