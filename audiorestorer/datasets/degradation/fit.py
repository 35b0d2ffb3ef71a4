"""From analyses of real recordings to the distribution that synthetic ones are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from audiorestorer.datasets.degradation.settings import (
    BandSettings,
    DegradationSettings,
    HissSettings,
    HumSettings,
    ImpulseSettings,
    RumbleSettings,
    WowSettings,
)

Rows = Sequence[Mapping[str, Any]]

LEAST_CONFIDENCE = 0.3  # a less sure figure is not used
PERCENTILES = (10, 90)  # of the recordings, which make a range
LEVEL_MARGIN_DB = 3.0  # on either side: a few recordings do not show the whole range
FACTOR_MARGIN = 1.3  # likewise for rates, widths and frequencies
LEAST_IMPULSES_PER_SEC = 0.3  # fewer: clean
CRACKLE_PER_SEC = 60.0  # more are crackle: single clicks cannot be told apart
MOST_SPECTRA = 64
BAND_BELOW_HZ = 9000.0  # a higher bandwidth may be the voice's own
LEAST_NOISE_DBFS = -95.0  # below it: digital silence, whose spectrum says nothing
MOST_SNR_DB = 60.0  # above it a noise is not heard


def degradation_settings(rows: Rows, base: DegradationSettings | None = None) -> DegradationSettings:
    """The distribution that follows an analysis.

    Args:
        rows: rows of `analyse-degradation` (JSON rows, or `Analysis.row()`); rejected ones are left out.
        base: distribution of the artefacts that no recording shows or that are not measured (pops, noise of a turn, clipping);
            the defaults if left out.
    """
    base = base or DegradationSettings()
    usable = [row for row in rows if row.get("status", "ok") == "ok"]
    return base.model_copy(
        update={
            "clicks": _impulses(usable, base.clicks, 0.0, CRACKLE_PER_SEC),
            "crackle": _impulses(usable, base.crackle, CRACKLE_PER_SEC, np.inf),
            "hiss": _hiss(usable, base.hiss), "rumble": _rumble(usable, base.rumble), "hum": _hum(usable, base.hum),
            "band": _band(usable, base.band), "wow": _wow(usable, base.wow),
        }
    )  # fmt: skip


def _sure(rows: Rows, name: str, confidence: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row.get(name) is not None and (row.get(confidence) or 0) >= LEAST_CONFIDENCE]


def _levels(values: Sequence[float], low: float = -80.0, high: float = 80.0) -> tuple[float, float]:
    """10th to 90th percentile with a margin in dB, within bounds."""
    first, last = np.percentile(values, PERCENTILES)
    return _bounded(first - LEVEL_MARGIN_DB, last + LEVEL_MARGIN_DB, low, high)


def _factors(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """10th to 90th percentile with a factor on either side, within bounds."""
    first, last = np.percentile(values, PERCENTILES)
    return _bounded(first / FACTOR_MARGIN, last * FACTOR_MARGIN, low, high)


def _bounded(first: float, last: float, low: float, high: float) -> tuple[float, float]:
    return round(float(np.clip(first, low, high)), 4), round(float(np.clip(last, low, high)), 4)


def _impulses(rows: Rows, base: ImpulseSettings, above: float, below: float) -> ImpulseSettings:
    """Settings of impulses, from the recordings whose rate lies within [above, below)."""
    known = _sure(rows, "impulses_per_sec", "impulses_confidence")
    if not known:
        return base
    least = max(above, LEAST_IMPULSES_PER_SEC)
    matching = [
        row for row in known if least <= row["impulses_per_sec"] < below and row["impulse_level_db"] is not None
    ]
    changes: dict[str, Any] = {"probability": round(len(matching) / len(known), 4)}
    if matching:
        changes |= {
            "rate_per_sec": _factors([row["impulses_per_sec"] for row in matching], 0.1, 5000.0),
            "level_db": _levels([row["impulse_level_db"] for row in matching]),
            "spread_db": _levels([row["impulse_spread_db"] for row in matching], 1.0, 20.0),
            "width_ms": _factors([row["impulse_width_ms"] for row in matching], 0.02, 20.0),
        }
    return ImpulseSettings.model_validate({**base.model_dump(), **changes})


def _hiss(rows: Rows, base: HissSettings) -> HissSettings:
    known = _sure(rows, "noise_dbfs", "noise_confidence")
    if not known:
        return base
    heard = [row for row in known if row["noise_dbfs"] > LEAST_NOISE_DBFS and (row.get("snr_db") or 0) < MOST_SNR_DB]
    changes: dict[str, Any] = {"probability": round(len(heard) / len(known), 4)}
    ratios = [row["snr_db"] for row in heard if row.get("snr_db") is not None]
    if ratios:
        changes["snr_db"] = _levels(ratios, -20.0, 80.0)
    spectra = [curve for row in heard[:MOST_SPECTRA] if (curve := _density(row["bands_hz"], row["bands_dbfs"]))]
    if spectra:
        changes |= {"spectra": spectra, "tilt_db": (-1.0, 1.0)}
    return HissSettings.model_validate({**base.model_dump(), **changes})


def _density(bands_hz: Sequence[float], levels_dbfs: Sequence[float | None]) -> list[tuple[float, float]]:
    """Power density in dB of third-octave levels (their width grows with frequency), the largest at 0; [] of fewer than two."""
    points = [(f, db - 10 * np.log10(f)) for f, db in zip(bands_hz, levels_dbfs, strict=True) if db is not None]
    if len(points) < 2:
        return []
    top = max(level for _, level in points)
    return [(round(float(f), 1), round(float(max(level - top, -120.0)), 2)) for f, level in points]


def _rumble(rows: Rows, base: RumbleSettings) -> RumbleSettings:
    known = [row for row in _sure(rows, "rumble_dbfs", "noise_confidence") if row.get("speech_dbfs") is not None]
    if not known:
        return base
    ratios = [row["speech_dbfs"] - row["rumble_dbfs"] for row in known if row["rumble_dbfs"] > LEAST_NOISE_DBFS]
    heard = [ratio for ratio in ratios if ratio < MOST_SNR_DB]
    changes: dict[str, Any] = {"probability": round(len(heard) / len(known), 4)}
    if heard:
        changes["snr_db"] = _levels(heard, -20.0, 80.0)
    return RumbleSettings.model_validate({**base.model_dump(), **changes})


def _hum(rows: Rows, base: HumSettings) -> HumSettings:
    known = [row for row in rows if (row.get("hum_confidence") or 0) >= LEAST_CONFIDENCE]
    if not known:
        return base
    heard = [row for row in known if row.get("hum_hz") is not None]
    changes: dict[str, Any] = {"probability": round(len(heard) / len(known), 4)}
    if heard:
        changes["base_hz"] = sorted({50.0 if row["hum_hz"] < 55 else 60.0 for row in heard})
        levels = [_reference(row) - row["hum_dbfs"] for row in heard]
        changes["snr_db"] = _levels(levels, -20.0, 80.0)
    return HumSettings.model_validate({**base.model_dump(), **changes})


def _reference(row: Mapping[str, Any]) -> float:
    """The speech's level, or the active RMS where there is none."""
    return float(row["level_dbfs"] if row.get("speech_dbfs") is None else row["speech_dbfs"])


def _band(rows: Rows, base: BandSettings) -> BandSettings:
    known = _sure(rows, "bandwidth_hz", "bandwidth_confidence")
    if not known:
        return base
    narrow = [row["bandwidth_hz"] for row in known if row["bandwidth_hz"] < BAND_BELOW_HZ]
    changes: dict[str, Any] = {"probability": round(len(narrow) / len(known), 4)}
    if narrow:
        changes["high_hz"] = _factors(narrow, 1000.0, 20_000.0)
    return BandSettings.model_validate({**base.model_dump(), **changes})


def _wow(rows: Rows, base: WowSettings) -> WowSettings:
    known = _sure(rows, "wow_percent", "wow_confidence")
    if not known:
        return base
    return WowSettings.model_validate(
        {**base.model_dump(), "depth_percent": _factors([row["wow_percent"] for row in known], 0.0, 5.0)}
    )
