"""Voices by formulas: pitch and formants of their speaker, treble in fricatives, pauses; the folder's layout, the same bytes again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal as scipy_signal

from audiorestorer.datasets.enhancement import generated_folder as generated_enhancement
from audiorestorer.datasets.enhancement import generated_voices
from audiorestorer.datasets.enhancement.distortions import align
from audiorestorer.datasets.enhancement.generated_voices import Speaker, speak
from audiorestorer.datasets.enhancement.mixing import EnhancementFolder, EnhancementSettings

RATE = 22_050
SPEAKER = Speaker(pitch_hz=120, tract=1.0, corner_hz=600, breath=0.05, jitter=0.004, hiss=1.0, syllable_sec=0.2)


def frames(audio: np.ndarray, size: int = 1102) -> np.ndarray:
    """Frames of 50 ms, the loudest half of them."""
    cut = audio[: len(audio) // size * size].reshape(-1, size).astype(np.float64)
    return cut[np.argsort(np.square(cut).sum(axis=1))[len(cut) // 2 :]]


@pytest.mark.parametrize("pitch", [100.0, 210.0])
def test_pitch_is_the_speakers(pitch: float) -> None:
    audio = speak(np.random.default_rng(1), replace(SPEAKER, pitch_hz=pitch), 6.0, RATE)
    low = scipy_signal.sosfilt(scipy_signal.butter(4, 1000, fs=RATE, output="sos"), audio)
    found = []
    for frame in frames(low):
        correlation = scipy_signal.correlate(frame, frame)[len(frame) - 1 :]
        lags = slice(RATE // 400, RATE // 60)
        best = int(np.argmax(correlation[lags])) + RATE // 400
        if correlation[best] > 0.5 * correlation[0]:
            found.append(RATE / best)
    assert len(found) > 10 and float(np.median(found)) == pytest.approx(pitch, rel=0.15)


def test_a_shorter_tract_has_higher_formants() -> None:
    """The third formant and those above it move with the tract's length: so does the spectrum's centre between 1.5 and 4.5 kHz."""

    def centre(tract: float) -> float:
        audio = speak(np.random.default_rng(2), replace(SPEAKER, tract=tract, hiss=0.0), 8.0, RATE)
        frequency, power = scipy_signal.welch(audio, RATE, nperseg=1024)
        band = (frequency > 1500) & (frequency < 4500)
        return float((frequency[band] * power[band]).sum() / power[band].sum())

    assert centre(1.2) > 1.08 * centre(0.95)


def test_fricatives_reach_the_treble_and_phrases_pause() -> None:
    hissing, mute = (speak(np.random.default_rng(3), replace(SPEAKER, hiss=hiss), 8.0, RATE) for hiss in (1.0, 0.0))
    high = scipy_signal.butter(6, 5000, "highpass", fs=RATE, output="sos")
    treble = [float(np.square(scipy_signal.sosfilt(high, audio)).sum()) for audio in (hissing, mute)]
    assert treble[0] > 10 * treble[1]
    level = np.sqrt(np.square(hissing[: len(hissing) // 441 * 441].reshape(-1, 441)).mean(axis=1))
    assert 0.02 < np.mean(level < 1e-3 * level.max()) < 0.5
    assert float(np.abs(hissing).max()) == pytest.approx(0.5) and np.isfinite(hissing).all()


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_any_rate_and_the_same_again(rate: int) -> None:
    first, again = (speak(np.random.default_rng(4), SPEAKER, 1.3, rate) for _ in range(2))
    assert first.shape == (int(1.3 * rate),) and np.array_equal(first, again)


def test_the_folder_is_one_that_the_enhancer_learns_from(tmp_path: Path) -> None:
    index = generated_enhancement.make(tmp_path / "a", speakers=3, takes=1, seconds=1.0, sample_rate=8000)
    generated_enhancement.make(tmp_path / "b", speakers=3, takes=1, seconds=1.0, sample_rate=8000)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)
    folder = EnhancementFolder(tmp_path / "a", 8000, EnhancementSettings())
    assert len(folder.speech("train")) + len(folder.speech("valid")) == 3 and folder.speech("valid")
    assert {clip.path.stem.split("_")[0] for clip in folder.noises("train")} >= {"hiss", "music", "crowd"}
    for path in folder.rooms:
        response, direct = align(np.load(path).astype(np.float64), 44_100, 44_100)
        assert direct == int(generated_enhancement.SILENCE_SEC * 44_100) and response[direct] == 1
    before = index.stat().st_mtime_ns
    generated_enhancement.make(tmp_path / "a", speakers=3, takes=1, seconds=1.0, sample_rate=8000)
    assert index.stat().st_mtime_ns == before
    generated_enhancement.make(tmp_path / "a", speakers=3, takes=1, seconds=1.0, sample_rate=8000, seed=2)
    assert any((tmp_path / "a" / path).read_bytes() != (tmp_path / "b" / path).read_bytes() for path in files)


def test_speakers_differ() -> None:
    speakers = [generated_voices.draw_speaker(np.random.default_rng(seed)) for seed in range(40)]
    pitch, tract = (np.array([getattr(each, name) for each in speakers]) for name in ("pitch_hz", "tract"))
    assert pitch.min() < 120 and pitch.max() > 190 and np.corrcoef(np.log(pitch), tract)[0, 1] > 0.6
