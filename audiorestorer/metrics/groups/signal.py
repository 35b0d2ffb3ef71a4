"""SI-SDR, LSD, residual ratio, composite and masked music-to-speech ratio of mixture and output against the reference.

Two passes over the files, in blocks: first the sums that fix the scales, then the spectra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.metrics import Missing
from audiorestorer.metrics import signal as metric
from audiorestorer.metrics.files import Source
from audiorestorer.metrics.groups import Figures, Group, Metric
from audiorestorer.resources import Cost

N_FFT, HOP = 2048, 512
OF_COMPOSITE = ("si_sdr_improvement_db", "lsd_in_db", "lsd_db", "residual_ratio")
_SISDR = "scale-invariant signal-to-distortion ratio against the clean reference"
_LSD = "log-spectral distance to the clean reference"
_M2S = "level of what is left beside the speech, relative to the speech"
_DETAILS = 70  # their place in the results table: behind the metrics that predict what listeners say


@dataclass
class Side:
    """Sums and spectra that are gathered of one signal against the reference."""

    sums: metric.Sums
    lsd: metric.LogSpectralDistance
    music: metric.MusicToSpeech


def compute(files: Source, figures: Figures) -> None:
    before, after = _sides(files)
    put = figures.put
    put("si_sdr_in_db", lambda: metric.si_sdr(before.sums), "noisy")
    put("si_sdr_db", lambda: metric.si_sdr(after.sums), "output")
    put("si_sdr_improvement_db", lambda: metric.si_sdr(after.sums) - metric.si_sdr(before.sums), "noisy", "output")
    put("lsd_in_db", before.lsd.value, "noisy")
    put("lsd_db", after.lsd.value, "output")
    put("residual_ratio", lambda: metric.residual_ratio(after.sums, before.sums))  # of silence: all speech is missing
    put("music_to_speech_in_db", before.music.value, "noisy")
    put("music_to_speech_db", after.music.value, "output")
    put("composite", lambda: _composite(figures))


def _composite(figures: Figures) -> float:
    for name in OF_COMPOSITE:
        if name in figures.missing:
            raise Missing(f"{name}: {figures.missing[name]}")
    gain, lsd_in, lsd, residual = (figures.values[name] for name in OF_COMPOSITE)
    return metric.composite(gain, lsd_in - lsd, residual)


def _sides(files: Source) -> tuple[Side, Side]:
    from audiorestorer.dsp import stft

    sums = {"noisy": metric.Sums(), "output": metric.Sums()}
    samples = 0
    streams = [files.stream(name) for name in ("clean", "noisy", "output")]
    for clean, noisy, output in zip(*streams, strict=True):
        samples += clean.size
        sums["noisy"].add(noisy, clean)
        sums["output"].add(output, clean)
    if sums["noisy"].ss <= 0:
        raise Missing("the reference is silent")
    floor = metric.floor_power(sums["noisy"], samples, float(np.square(stft.hann(N_FFT)).sum()))
    sides = {
        name: Side(part, metric.LogSpectralDistance(floor), metric.MusicToSpeech(part.ys / part.ss))
        for name, part in sums.items()
    }
    # the loudness stage changed the output's level: spectra are compared where their speech has the reference's
    scales = {name: np.float32(part.scale) for name, part in sums.items()}
    streams = [files.stream("clean"), *(_times(files, name, scale) for name, scale in scales.items())]
    for name, scale in scales.items():
        sides[name].music.gain *= float(scale)
    for clean_f, noisy_f, output_f in stft.analyse(streams, files.info.frames, N_FFT, HOP):
        for side, spectrum in ((sides["noisy"], noisy_f), (sides["output"], output_f)):
            side.lsd.add(spectrum, clean_f)
            side.music.add(spectrum, clean_f)
    return sides["noisy"], sides["output"]


def _times(files: Source, name: str, scale: np.float32) -> Iterator[Audio]:
    return (block * scale for block in files.stream(name))


GROUP = Group(
    metrics=(
        Metric("si_sdr_improvement_db", "SI-SDR improvement", "dB", "higher", 2, "SI-SDR after minus before"),
        Metric("si_sdr_in_db", "SI-SDR before", "dB", "higher", 2, _SISDR),
        Metric("si_sdr_db", "SI-SDR after", "dB", "higher", 2, _SISDR),
        Metric("music_to_speech_in_db", "music to speech before", "dB", "lower", 2, _M2S),
        Metric("music_to_speech_db", "music to speech after", "dB", "lower", 2, _M2S),
        Metric("lsd_in_db", "LSD before", "dB", "lower", 2, _LSD, _DETAILS),
        Metric("lsd_db", "LSD after", "dB", "lower", 2, _LSD, _DETAILS),
        Metric("residual_ratio", "residual ratio", "", "lower", 3, "error energy after, relative to before", _DETAILS),
        Metric("composite", "composite", "of 100", "higher", 1, "weighted score of SI-SDR, LSD and residual", _DETAILS),
    ),
    cost=Cost(224, channel=0.01),
    place=10,
    compute=compute,
    examined=True,
)
