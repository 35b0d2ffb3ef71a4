"""SI-SDR, LSD, residual ratio, composite and masked music-to-speech ratio of mixture and output against the reference.

Two passes over the files, in blocks: first the sums that fix the scales, then the spectra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.dsp import stft
from audiorestorer.metrics import Missing
from audiorestorer.metrics import signal as metric
from audiorestorer.metrics.files import Files, Reasons, Values, gather

N_FFT, HOP = 2048, 512
EXAMINED = True
NAMES = (
    "si_sdr_in_db", "si_sdr_db", "si_sdr_improvement_db", "lsd_in_db", "lsd_db", "residual_ratio", "composite",
    "music_to_speech_in_db", "music_to_speech_db",
)  # fmt: skip


@dataclass
class Side:
    """What is gathered of one signal against the reference."""

    sums: metric.Sums
    lsd: metric.LogSpectralDistance
    music: metric.MusicToSpeech


def compute(files: Files) -> tuple[Values, Reasons]:
    """All metrics of `NAMES`; each that cannot be computed is in the reasons."""
    values: Values = {}
    missing: Reasons = {}
    try:
        before, after = _sides(files)
    except Missing as reason:
        return {}, dict.fromkeys(NAMES, str(reason))

    def put(name: str, function: Callable[[], float], *sides: str) -> None:
        gather(values, missing, name, function, files, *sides)

    put("si_sdr_in_db", lambda: metric.si_sdr(before.sums), "noisy")
    put("si_sdr_db", lambda: metric.si_sdr(after.sums), "output")
    put("si_sdr_improvement_db", lambda: metric.si_sdr(after.sums) - metric.si_sdr(before.sums), "noisy", "output")
    put("lsd_in_db", before.lsd.value, "noisy")
    put("lsd_db", after.lsd.value, "output")
    put("residual_ratio", lambda: metric.residual_ratio(after.sums, before.sums))  # of silence: all speech is missing
    put("music_to_speech_in_db", before.music.value, "noisy")
    put("music_to_speech_db", after.music.value, "output")
    parts = ("si_sdr_improvement_db", "lsd_in_db", "lsd_db", "residual_ratio")
    absent = [name for name in parts if name in missing]
    if absent:
        missing["composite"] = f"{absent[0]}: {missing[absent[0]]}"
    else:
        gain, lsd_in, lsd, residual = (values[name] for name in parts)
        values["composite"] = metric.composite(gain, lsd_in - lsd, residual)
    return values, missing


def _sides(files: Files) -> tuple[Side, Side]:
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


def _times(files: Files, name: str, scale: np.float32) -> Iterator[Audio]:
    return (block * scale for block in files.stream(name))
