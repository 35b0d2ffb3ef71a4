"""The kinds of values that settings have: names, paths and sizes. No torch import."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from audiorestorer.checking import NAME_READ_AS, PATH_FORMAT

NULL_WORDS = ("null", "Null", "NULL", "~")  # Snakemake's `--config` hands them on as text
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
SEED_MAX = 2**32 - 1  # of numpy and Lightning


def _a_name(text: str) -> str:
    if text in NULL_WORDS:
        raise ValueError(f"{NAME_READ_AS} null: write ./ before it, as ./{text}")
    return text


PathText = Annotated[str, Field(json_schema_extra={"format": PATH_FORMAT})]
PathName = Annotated[PathText, AfterValidator(_a_name)]
PathOrNull = Annotated[PathText | None, BeforeValidator(lambda value: None if value in NULL_WORDS else value)]


def bytes_of(text: str) -> int:
    """Bytes of a size as people write it: `500MB`, `2.5 GB` (decimal), `1GiB` (binary), `4096`.

    Raises:
        ValueError: not such a size, or zero.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    size = 0.0
    if found:
        size = float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " ")
    if size < 1:
        raise ValueError(f"{text!r} is no size: write it as 500MB, 2GB or 1GiB")
    return int(size)
