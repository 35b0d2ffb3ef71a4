"""Training manifests (JSON Lines): rows of clean or noisy/clean recordings, and of noises; checked before training starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audiorestorer import audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_lines

Split = Literal["train", "valid", "test"]
MOST_PROBLEMS = 20  # largest number in one message
DURATION_TOLERANCE_SEC = 0.05


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)

    id: str = Field(min_length=1)
    split: Split
    sr: int = Field(ge=1000, le=768_000)
    duration: float = Field(gt=0)
    finite: bool = False  # the writer of the row has read all samples and found them finite

    def files(self, base: Path) -> dict[str, Path]:
        """The row's files by field."""
        raise NotImplementedError


class Row(_Row):
    """One recording: `clean` is the target, `noisy` its degraded version, None where noise is mixed on the fly."""

    clean: str = Field(min_length=1)
    noisy: str | None
    track: str | None = None
    speaker: str | None = None
    sha256: str | None = None

    def clean_path(self, base: Path) -> Path:
        return base / self.clean

    def noisy_path(self, base: Path) -> Path | None:
        return base / self.noisy if self.noisy is not None else None

    def files(self, base: Path) -> dict[str, Path]:
        noisy = self.noisy_path(base)
        return {"clean": self.clean_path(base), **({"noisy": noisy} if noisy else {})}


class NoiseRow(_Row):
    """One noise that the filter kept."""

    path: str = Field(min_length=1)
    noise_class: str = Field(alias="class")
    label: str | None = None

    def audio_path(self, base: Path) -> Path:
        return base / self.path

    def files(self, base: Path) -> dict[str, Path]:
        return {"path": self.audio_path(base)}


RowType = TypeVar("RowType", bound=_Row)


def check_manifest(
    path: Path, *, sample_rate: int | None = None, splits: Sequence[str] = ("train", "valid"), min_sec: float = 0.0
) -> list[Row]:
    """Read a training manifest and check every row and file.

    Args:
        path: JSON Lines; relative paths in it start from its folder.
        sample_rate: rate that every recording must have; None: any.
        splits: splits that must hold a row.
        min_sec: the shortest recording allowed.

    Raises:
        AudioRestorerError: all problems found (up to 20), each with line, id, field and file.
    """

    def rate(row: Row) -> list[str]:
        wrong = sample_rate is not None and row.sr != sample_rate
        return [f"sr: {row.sr} Hz, the network wants {sample_rate} Hz (or set mixtures.resample)"] if wrong else []

    return _checked(Path(path), Row, splits, min_sec, rate)


def check_noise_manifest(path: Path, *, splits: Sequence[str] = ("train",), min_sec: float = 0.0) -> list[NoiseRow]:
    """Read a noise manifest and check every row and file; any rate."""
    return _checked(Path(path), NoiseRow, splits, min_sec, lambda row: [])


def _checked(
    path: Path, kind: type[RowType], splits: Sequence[str], min_sec: float, more: Callable[[RowType], list[str]]
) -> list[RowType]:
    rows: list[RowType] = []
    problems: list[str] = []
    ids: set[str] = set()
    for number, line in read_lines(path):
        try:
            row = kind.model_validate(json.loads(line))
        except (ValidationError, ValueError) as error:
            problems.append(f"line {number}: {_reason(error)}")
            continue
        rows.append(row)
        row_problems = [f"id: {row.id!r} occurs twice"] if row.id in ids else []
        row_problems += [*more(row), *_file_problems(row, path.parent, min_sec)]
        problems += [f"line {number} ({row.id}): {problem}" for problem in row_problems]
        ids.add(row.id)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.split] = counts.get(row.split, 0) + 1
    problems += [f"split: no row in {split!r}" for split in splits if not counts.get(split)]
    if problems:
        more_text = [f"... and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        raise AudioRestorerError("\n  ".join([f"{path}: cannot be trained on:", *problems[:MOST_PROBLEMS], *more_text]))
    return rows


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
    return f"not valid JSON: {error}"


def _file_problems(row: _Row, base: Path, min_sec: float) -> list[str]:
    problems = []
    for field, path in row.files(base).items():
        try:
            info = audio.probe(path)
        except AudioRestorerError as error:
            problems.append(f"{field}: {error}")
            continue
        if info.sample_rate != row.sr:
            problems.append(f"{field}: {path}: {info.sample_rate} Hz, the row says sr {row.sr}")
        if abs(info.duration_sec - row.duration) > DURATION_TOLERANCE_SEC:
            problems.append(f"{field}: {path}: {info.duration_sec:.2f} s, the row says duration {row.duration:.2f}")
        elif info.duration_sec < min_sec:
            problems.append(f"{field}: {path}: {info.duration_sec:.2f} s, shorter than {min_sec:g} s")
        if not row.finite:
            problems += [f"{field}: {path}: {reason}" for reason in _samples(path)]
    return problems


def _samples(path: Path) -> list[str]:
    """Problems of a file's samples, for rows that are not marked `finite`."""
    try:
        if not all(bool(np.isfinite(block).all()) for block in audio.blocks(path)):
            return ["holds NaN or infinite samples"]
    except AudioRestorerError as error:
        return [str(error)]
    return []
