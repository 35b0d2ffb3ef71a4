"""Triads (noisy, output, clean): the figures of one, and finding them in a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import Missing
from audiorestorer.metrics.examination import examine
from audiorestorer.metrics.files import Files
from audiorestorer.metrics.groups.signal import GROUP as SIGNAL

FIGURES = (
    "si_noisy_db", "si_yhat_db", "delta_si_db", "lsd_noisy_db", "lsd_yhat_db", "delta_lsd_db", "residual_percent", "composite",
)  # fmt: skip
FIELDS = ("epoch", "id", *FIGURES, "status", "reason")
PARTS = ("noisy", "yhat", "clean")
ITEMS = "triad_diagnostics.csv"
EPOCH = re.compile(r"^ep(\d+)$")


@dataclass(frozen=True)
class Triad:
    """Three files of one name; `epoch` None outside of `epXXX` folders, a part None where its file is missing."""

    id: str
    epoch: int | None
    noisy: Path | None
    yhat: Path | None
    clean: Path | None


def find(root: Path) -> list[Triad]:
    """Triads `[epXXX/]ID_{noisy,yhat,clean}.wav` of a folder, by epoch and id.

    Raises:
        AudioRestorerError: there is none.
    """
    parts: dict[tuple[int | None, str], dict[str, Path]] = {}
    folders: list[tuple[int | None, Path]] = [(None, root)] if root.is_dir() else []
    folders += [(int(m[1]), p) for p in sorted(root.glob("ep*")) if p.is_dir() and (m := EPOCH.match(p.name))]
    for epoch, folder in folders:
        for path in sorted(folder.iterdir()):
            name, _, part = path.stem.rpartition("_")
            if path.suffix.lower() in (".wav", ".flac") and part in PARTS and name:
                parts.setdefault((epoch, name), {})[part] = path
    if not parts:
        raise AudioRestorerError(f"{root}: no triads ([epXXX/]ID_noisy.wav, ID_yhat.wav, ID_clean.wav)")
    ordered = sorted(parts.items(), key=lambda item: (-1 if item[0][0] is None else item[0][0], item[0][1]))
    return [Triad(name, epoch, *(found.get(part) for part in PARTS)) for (epoch, name), found in ordered]


def write(folder: Path, name: str, noisy: Audio, yhat: Audio, clean: Audio, rate: int) -> Triad:
    """Write three signals `[C, T]` as one triad of float WAV; it is outside of any epoch."""
    signals = dict(zip(PARTS, (noisy, yhat, clean), strict=True))
    paths = {part: folder / f"{name}_{part}.wav" for part in PARTS}
    for part, signal in signals.items():
        audio.write(paths[part], signal.astype(np.float32, copy=False), rate)
    return Triad(name, None, **paths)


def measure(noisy: Path, yhat: Path, clean: Path) -> tuple[dict[str, float], str]:
    """The figures of three files, in blocks: those of `FIGURES` that could be computed, and why others could not.

    SI and LSD in dB; delta LSD is positive for an improvement; residual_percent is 100 r of the design. A clean file that is late is
    aligned first, and the reasons say so; against one of another recording nothing is measured.

    Raises:
        AudioRestorerError: a file that cannot be read.
    """
    examined = examine(str(noisy), str(yhat), str(clean))
    figures = SIGNAL.measure(Files(str(noisy), str(yhat), str(clean), examined))
    values, missing = figures.values, figures.missing
    triad = {
        "si_noisy_db": values.get("si_sdr_in_db"),
        "si_yhat_db": values.get("si_sdr_db"),
        "delta_si_db": values.get("si_sdr_improvement_db"),
        "lsd_noisy_db": values.get("lsd_in_db"),
        "lsd_yhat_db": values.get("lsd_db"),
        "composite": values.get("composite"),
    }
    if "lsd_in_db" in values and "lsd_db" in values:
        triad["delta_lsd_db"] = values["lsd_in_db"] - values["lsd_db"]
    triad["residual_percent"] = _times(values.get("residual_ratio"), 100)
    reasons = sorted(set(missing.values())) + ([examined.note] if examined.note and examined.unlike is None else [])
    return {name: value for name, value in triad.items() if value is not None}, "; ".join(reasons)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def row_of(triad: Triad) -> dict[str, Any]:
    """One CSV row; a triad that cannot be measured is `rejected` with its reason."""
    row: dict[str, Any] = {"epoch": "" if triad.epoch is None else triad.epoch, "id": triad.id}
    absent = [part for part in PARTS if getattr(triad, part) is None]
    if absent or triad.noisy is None or triad.yhat is None or triad.clean is None:
        return {**row, "status": "rejected", "reason": f"missing: {', '.join(absent)}"}
    try:
        infos = [audio.probe(path) for path in (triad.noisy, triad.yhat, triad.clean)]
        if len({(info.sample_rate, info.frames) for info in infos}) > 1:
            shapes = ", ".join(f"{part} {i.frames} at {i.sample_rate} Hz" for part, i in zip(PARTS, infos, strict=True))
            return {**row, "status": "rejected", "reason": f"rate or length differ: {shapes}"}
        values, reason = measure(triad.noisy, triad.yhat, triad.clean)
    except (AudioRestorerError, Missing) as error:
        return {**row, "status": "rejected", "reason": str(error)}
    return {**row, **rounded(values), "status": "ok" if values else "rejected", "reason": reason}


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Four digits after the point."""
    return {name: round(value, 4) for name, value in values.items()}


def medians(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per epoch: n, and median and quartiles of each figure over the rows that have it.

    Quartiles are interpolated between the values ("inclusive"): of few items, too, they lie within what was measured.
    """
    epochs: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["status"] == "ok":
            epochs.setdefault(str(row["epoch"]), []).append(row)
    out = []
    for epoch, found in sorted(epochs.items(), key=lambda item: int(item[0] or -1)):
        line: dict[str, Any] = {"epoch": epoch, "n": len(found)}
        for name in FIGURES:
            values = [float(row[name]) for row in found if row.get(name) not in (None, "")]
            if values:
                low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
                line |= {name: round(median(values), 4), f"{name}_q25": round(low, 4), f"{name}_q75": round(high, 4)}
        out.append(line)
    return out
