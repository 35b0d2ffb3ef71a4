"""Sets of (noisy, clean) recordings, and one of their pairs in memory, with the signals made of it and their cost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soxr

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.dsp.likeness import compare
from audiorestorer.errors import AudioRestorerError
from audiorestorer.intake.pairs import references_of
from audiorestorer.manifest import Item
from audiorestorer.metrics.examination import LEAST_DELAY_SEC, LENGTH_TOLERANCE_SEC, LONGEST_DELAY_SEC
from audiorestorer.store import sha256_file

ROOT = Path(__file__).resolve().parents[2]

NOISY, CLEAN = "_noisy", "_clean"
SHORTEST_SEC = 0.5  # STOI's least


@dataclass(frozen=True)
class Pair:
    """A recording and its reference; for clean speech alone they are one file."""

    name: str
    noisy: Path
    clean: Path


@dataclass(frozen=True)
class PairSet:
    """Pairs of one kind. `alone`: the input is clean speech. `unusable`: (name, reason)."""

    name: str
    pairs: list[Pair]
    alone: bool = False
    unusable: list[tuple[str, str]] = field(default_factory=list)


def _below(folder: Path, name: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise AudioRestorerError(f"set {name}: {folder}: no such folder")
    recordings = audio.below(folder)
    if not recordings:
        raise AudioRestorerError(f"set {name}: {audio.none_in(folder)}")
    return recordings


def two_folders(name: str, noisy: Path, clean: Path) -> PairSet:
    """Recordings and references of the same relative names; the suffix of a reference may be another.

    Raises:
        AudioRestorerError: a folder is missing or empty.
    """
    _below(clean, name)
    recordings = _below(noisy, name)
    references = references_of(clean, list(recordings))
    pairs, unusable = [], []
    for relative, path in recordings.items():
        if relative in references.of:
            pairs.append(Pair(str(Path(relative).with_suffix("")), path, references.of[relative]))
        else:
            unusable.append((relative, references.unclear.get(relative, f"no reference of this name in {clean}")))
    return PairSet(name, pairs, unusable=unusable)


def one_folder(name: str, folder: Path) -> PairSet:
    """`X_noisy` and `X_clean` side by side.

    Raises:
        AudioRestorerError: the folder is missing, or holds no such pair.
    """
    recordings = {str(Path(relative).with_suffix("")): path for relative, path in _below(folder, name).items()}
    pairs, unusable = [], []
    for stem, path in recordings.items():
        if not stem.endswith(NOISY):
            continue
        own = stem.removesuffix(NOISY)
        if own + CLEAN in recordings:
            pairs.append(Pair(own, path, recordings[own + CLEAN]))
        else:
            unusable.append((stem, f"no {own}{CLEAN} beside it"))
    if not pairs:
        raise AudioRestorerError(f"set {name}: {folder}: no pairs X{NOISY}, X{CLEAN}; two folders: NAME=NOISY:CLEAN")
    return PairSet(name, pairs, unusable=unusable)


def clean_speech(name: str, folder: Path) -> PairSet:
    """Clean speech alone: every change that a system makes to it is an error."""
    recordings = _below(folder, name)
    return PairSet(name, [Pair(str(Path(key).with_suffix("")), path, path) for key, path in recordings.items()], True)


def parsed(text: str, alone: bool = False) -> PairSet:
    """The set of `NAME=NOISY_DIR:CLEAN_DIR`, of `NAME=DIR` (pairs in one folder), or with `alone` of clean speech `NAME=DIR`."""
    name, found, places = text.partition("=")
    if not (name and found and places):
        raise AudioRestorerError(f"{text!r}: a set is NAME=NOISY_DIR:CLEAN_DIR or NAME=DIR")
    noisy, two, clean = places.partition(":")
    if alone:
        return clean_speech(name, Path(places))
    return two_folders(name, Path(noisy), Path(clean)) if two else one_folder(name, Path(noisy))


def default_sets(root: Path) -> list[PairSet]:
    """The sets below a folder laid out as the issue's: mixtures, noisy, pairs and clean."""
    return [
        two_folders("mixtures", root / "mixtures", root / "mixtures_clean"),
        two_folders("noisy", root / "noisy", root / "speech"),
        one_folder("pairs", root / "more/pairs"),
        clean_speech("clean", root / "more/speech"),
    ]


@dataclass
class Cost:
    """Seconds: `cpu` of all threads, `wall` by the clock."""

    cpu: float = 0.0
    wall: float = 0.0


def _mono(path: Path) -> tuple[Audio, int]:
    signal, rate = audio.read(path)
    if signal.shape[1] < SHORTEST_SEC * rate:
        raise AudioRestorerError(f"{path}: shorter than {SHORTEST_SEC} s")
    if not np.isfinite(signal).all() or not np.any(signal):
        raise AudioRestorerError(f"{path}: silent, or NaN or infinite samples")
    return signal.mean(axis=0, keepdims=True, dtype=np.float32), rate


def at_rate(signal: Audio, rate: int, wanted: int, frames: int | None = None) -> Audio:
    """`[1, T]` at another rate, cut or padded to `frames`."""
    if rate != wanted:
        signal = np.asarray(soxr.resample(signal[0], rate, wanted), np.float32)[None]
    missing = 0 if frames is None else frames - signal.shape[1]
    return np.pad(signal, ((0, 0), (0, missing))) if missing > 0 else signal[:, :frames]


class Clip:
    """A pair as mono, with a folder of its own for the signals made of it.

    Attributes:
        noisy, rate: the recording `[1, T]` at its own rate. item: the same as the pipeline's stages take it.
        truth: the reference `[1, T]` at the recording's rate. reference, reference_rate: at its own; figures are measured there.

    Raises:
        AudioRestorerError: unreadable, silent, too short, not finite, or two lengths.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.noisy, self.rate = _mono(pair.noisy)
        self.reference, self.reference_rate = _mono(pair.clean)
        self.seconds = self.noisy.shape[1] / self.rate
        if abs(self.seconds - self.reference.shape[1] / self.reference_rate) > LENGTH_TOLERANCE_SEC:
            raise AudioRestorerError(f"{pair.noisy}: {self.seconds:.2f} s, its reference has another length")
        common = min(self.rate, self.reference_rate)
        match = compare(
            [(at_rate(self.noisy, self.rate, common)[0], at_rate(self.reference, self.reference_rate, common)[0])],
            common,
            LONGEST_DELAY_SEC,
        )
        if not match.alike or abs(match.delay_sec) > LEAST_DELAY_SEC:
            what = f"{1000 * match.delay_sec:.2f} ms late" if match.alike else "another recording"
            raise AudioRestorerError(f"{pair.noisy}: its reference is {what}")
        self.truth = at_rate(self.reference, self.reference_rate, self.rate, self.noisy.shape[1])
        self.noisy_sha256, self.clean_sha256 = sha256_file(pair.noisy), sha256_file(pair.clean)
        self._made: dict[str, tuple[Any, Cost]] = {}
        self._used: set[str] = set()

    def __enter__(self) -> Clip:
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        path = self.folder / "noisy.wav"
        audio.write(path, self.noisy, self.rate)
        self.item = Item(id="clip", noisy=str(path), sha256=self.noisy_sha256, sr=self.rate, channels=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def part(self, key: str, make: Callable[[Path], Any]) -> Any:
        """Result of `make(empty folder)`, made once. Parts do not nest: ask for the inputs of a part before it."""
        self._used.add(key)
        if key not in self._made:
            folder = self.folder / str(len(self._made))
            folder.mkdir(exist_ok=True)
            cpu, wall = time.process_time(), time.perf_counter()
            value = make(folder)
            self._made[key] = value, Cost(time.process_time() - cpu, time.perf_counter() - wall)
        return self._made[key][0]

    def made_by(self, system: Callable[[Clip], Audio]) -> tuple[Audio, Cost]:
        """A system's output `[1, T]` at the recording's rate, and the cost of all its parts, those made before included."""
        self._used = set()
        out = system(self)
        costs = [self._made[key][1] for key in self._used]
        return out, Cost(sum(cost.cpu for cost in costs), sum(cost.wall for cost in costs))
