"""Analysis of a recording's faults: impulses, noise, bandwidth, hum and wow, each with a confidence, in bounded memory.

Impulses are counted on the signal with a fixed dither, less those of clean speech under the same dither (`false_per_sec`). Noise,
hum and wow are measured on the signal without the impulses that were found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.dsp.active_level import active_level
from audiorestorer.dsp.click_census import CENSUS_DETECTOR, Census, Count
from audiorestorer.dsp.click_detection import blocks as click_blocks
from audiorestorer.dsp.noise_floor import NoiseFloor, NoiseMeter
from audiorestorer.dsp.tones import HumLevel, HumMeter, WowDepth, WowMeter
from audiorestorer.errors import AudioRestorerError

LEAST_SEC = 0.5
LEAST_RATE_HZ = 8000
# Impulses per second that the census finds in the committed clean speech (data/pilot/clean: 12 recordings, 70 s), by sample rate:
# the wider the band, the less a glottal pulse looks like a click. Their standard deviation between recordings is about 0.3. Speech
# of other kinds has more (LibriSpeech and LibriTTS at 16 kHz: 1.5); `false_rate` measures it on a user's own clean recordings.
FALSE_PER_SEC = ((16_000, 0.33), (22_050, 0.26), (44_100, 0.05))
FALSE_SPREAD_PER_SEC = 0.3
FALSE_FALL_DB = 5.0  # hiss that adds so much to the dither leaves a tenth of them
SURE_SEC = 5.0


@dataclass(frozen=True)
class Analysis:
    """Analysis of one recording. NaN: unknown. Confidences lie in 0 .. 1 and belong to the number of the same name.

    Attributes:
        level_dbfs: active RMS.
        impulses_per_sec: rate without the false ones; impulses_error: its standard deviation.
        impulse_level_db, impulse_spread_db: mean and standard deviation of the peaks' level, dB over the speech (over the active
            RMS where there is no speech).
        noise_dbfs, rumble_dbfs: noise above and below 89 Hz. snr_db: speech over noise.
        bands_hz, bands_dbfs: third octaves of the noise.
        hum_hz, hum_dbfs: NaN and -120 where there is none. wow_percent: peak deviation of the speed.
    """

    duration_sec: float
    sample_rate: int
    channels: int
    level_dbfs: float
    impulses_per_sec: float
    impulses_error: float
    impulses_confidence: float
    impulse_level_db: float
    impulse_spread_db: float
    impulse_width_ms: float
    noise_dbfs: float
    noise_confidence: float
    rumble_dbfs: float
    speech_dbfs: float
    snr_db: float
    bandwidth_hz: float
    bandwidth_confidence: float
    hum_hz: float
    hum_dbfs: float
    hum_confidence: float
    wow_percent: float
    wow_confidence: float
    bands_hz: tuple[float, ...]
    bands_dbfs: tuple[float, ...]

    def row(self) -> dict[str, Any]:
        """The analysis rounded and JSON-able; unknown numbers are None."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def false_per_sec(sample_rate: int) -> float:
    """Impulses per second of clean speech at a sample rate, along straight lines over log rate."""
    sample_rates, counts = zip(*FALSE_PER_SEC, strict=True)
    return float(np.interp(np.log(sample_rate), np.log(sample_rates), counts))


def measure(path: Path, false_rate_per_sec: float | None = None) -> Analysis:
    """Analyse a file.

    Args:
        false_rate_per_sec: rate of false impulses, which is subtracted; None: `false_per_sec` of the file's sample rate.

    Raises:
        AudioRestorerError: cannot be read, holds NaN, is silent, shorter than half a second or sampled below 8 kHz.
    """
    info = audio.probe(path)
    if info.sample_rate < LEAST_RATE_HZ:
        raise AudioRestorerError(f"{path}: {info.sample_rate} Hz is too low to analyse")
    if info.duration_sec < LEAST_SEC:
        raise AudioRestorerError(f"{path}: {info.duration_sec:.2f} s is too short to analyse")
    level = active_level(_finite(path), info.sample_rate)
    if level <= 0:
        raise AudioRestorerError(f"{path}: silent")
    census, noise = Census(info.sample_rate), NoiseMeter(info.sample_rate)
    hum, wow = HumMeter(info.sample_rate), WowMeter(info.sample_rate)
    for block in click_blocks(audio.blocks(path), info.sample_rate, level, CENSUS_DETECTOR):
        census.add(block)
        for meter in (noise, hum, wow):
            meter.add(block.repaired)
    tones = hum.result()
    floor = noise.result().without(tones.lines)
    false = false_per_sec(info.sample_rate) if false_rate_per_sec is None else false_rate_per_sec
    count = census.count(false * _false_share(floor.snr_db))
    return _gathered(info, 20 * math.log10(level), count, floor, tones, wow.result())


def _false_share(snr_db: float) -> float:
    """Share of the false impulses that is left where the recording's own noise adds to the dither; 0 without speech."""
    if math.isnan(snr_db):
        return 0.0
    dither_db = CENSUS_DETECTOR.dither_db or 0.0
    total_db = 10 * math.log10(10 ** (dither_db / 10) + 10 ** (-snr_db / 10))
    return float(10 ** (-(total_db - dither_db) / FALSE_FALL_DB))


def _finite(path: Path) -> Iterator[audio.Audio]:
    for block in audio.blocks(path):
        if not np.isfinite(block).all():
            raise AudioRestorerError(f"{path}: holds NaN or infinite samples")
        yield block


def _gathered(
    info: audio.AudioInfo, level_dbfs: float, count: Count, floor: NoiseFloor, hum: HumLevel, wow: WowDepth
) -> Analysis:
    error = math.hypot(count.error_per_sec, FALSE_SPREAD_PER_SEC)
    sure = min(1.0, info.duration_sec / SURE_SEC) * max(0.0, 1 - error / (count.rate_per_sec + 1))
    reference = level_dbfs if math.isnan(floor.speech_dbfs) else floor.speech_dbfs
    return Analysis(
        duration_sec=info.duration_sec, sample_rate=info.sample_rate, channels=info.channels, level_dbfs=level_dbfs,
        impulses_per_sec=count.rate_per_sec, impulses_error=error, impulses_confidence=sure,
        impulse_level_db=count.level_db - reference, impulse_spread_db=count.spread_db, impulse_width_ms=1000 * count.width_sec,
        noise_dbfs=floor.noise_dbfs, noise_confidence=floor.noise_confidence, rumble_dbfs=floor.rumble_dbfs,
        speech_dbfs=floor.speech_dbfs, snr_db=floor.snr_db,
        bandwidth_hz=floor.bandwidth_hz, bandwidth_confidence=floor.bandwidth_confidence,
        hum_hz=hum.base_hz, hum_dbfs=hum.level_dbfs, hum_confidence=hum.confidence,
        wow_percent=wow.depth_percent, wow_confidence=wow.confidence,
        bands_hz=floor.bands_hz, bands_dbfs=floor.bands_dbfs,
    )  # fmt: skip


def false_rate(paths: Iterable[Path]) -> float:
    """Impulses per second in clean recordings, over all of them; 0.0 without recordings.

    Raises:
        AudioRestorerError: a file cannot be analysed.
    """
    seconds = impulses = 0.0
    for path in paths:
        analysis = measure(path, 0.0)
        seconds += analysis.duration_sec
        impulses += analysis.impulses_per_sec * analysis.duration_sec
    return impulses / seconds if seconds else 0.0
