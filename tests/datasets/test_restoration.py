"""Restoration examples: the degradation model in place of noises, a distribution that follows, real crops in the wanted share."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from torch.utils.data import DataLoader

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.degradation.settings import DegradationSettings
from audiorestorer.datasets.mixtures import MixtureDataset, MixtureSettings
from audiorestorer.datasets.real import RealRecordings
from audiorestorer.datasets.restoration import (
    AdaptiveArtifactDataset,
    DegradationMixer,
    FollowRecordings,
    MixedRestorationDataset,
)
from audiorestorer.errors import AudioRestorerError
from audiorestorer.training.curriculum import CurriculumScheduler
from tests.datasets.conftest import RATE

OFF = {
    name: {"probability": 0.0}
    for name in ("pops", "crackle", "hiss", "rumble", "hum", "revolution", "wow", "band", "clipping")
}
CLICKS = DegradationSettings.model_validate({**OFF, "clicks": {"probability": 1.0, "rate_per_sec": [5, 10]}})
HISS = DegradationSettings.model_validate(
    {**OFF, "clicks": {"probability": 0.0}, "hiss": {"probability": 1.0, "snr_db": [5, 5]}}
)
PLAIN = MixtureSettings(segment_sec=1.0, pure_speech=0, equaliser=0, reverb=0)


@pytest.fixture(scope="module")
def mixer(training_audio: Path) -> DegradationMixer:
    return DegradationMixer(AudioBank(training_audio, None, RATE), PLAIN, CLICKS, 3)


@pytest.fixture(scope="module")
def real(real_audio: Path) -> RealRecordings:
    return RealRecordings.of(real_audio, RATE)


def clicky(example: tuple[np.ndarray, ...]) -> bool:
    """Whether what was added is a few impulses rather than hiss."""
    added = np.abs(example[0] - example[1])[0]
    return bool(np.mean(added > 1e-6) < 0.5)


def test_a_degraded_example_is_its_target_and_the_impulses_it_names(mixer: DegradationMixer) -> None:
    for index in range(6):
        made = mixer.degraded(0, index)
        assert made.noisy.shape == made.target.shape == (1, RATE) and made.record["clicks"]["rate_per_sec"] >= 5
        added = np.abs(made.noisy - made.target)[0]
        for start, amplitude in zip(made.impulses.starts, np.abs(made.impulses.amplitudes), strict=True):
            assert added[start : start + 8].max() == pytest.approx(amplitude, rel=0.7)  # others may overlap
        away = np.ones(RATE, bool)
        for start in made.impulses.starts:
            away[start : start + RATE // 50] = False
        assert added[away].max() < 1e-3 * added.max()
        assert -30.01 < 20 * np.log10(np.abs(made.noisy).max()) <= 0.01
        example = mixer.example(0, index)
        assert np.array_equal(example.mixture, made.noisy[0]) and np.array_equal(example.target, made.target[0])


def test_examples_do_not_depend_on_workers_or_history(mixer: DegradationMixer) -> None:
    once, again = (list(DataLoader(MixtureDataset(mixer, 1, 6), 2, num_workers=n)) for n in (0, 2))
    for first, second in zip(once, again, strict=True):
        assert all(bool((a == b).all()) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(mixer.example(0, 0).mixture, mixer.example(1, 0).mixture)


def test_pure_examples_are_their_target(training_audio: Path) -> None:
    pure = DegradationMixer(
        AudioBank(training_audio, None, RATE), PLAIN.model_copy(update={"pure_speech": 1.0}), CLICKS, 3
    )
    made = pure.degraded(0, 0)
    assert np.array_equal(made.noisy, made.target) and not len(made.impulses)


class Analysis:
    """Remembers what it was given."""

    def __init__(self, found: DegradationSettings = HISS) -> None:
        self.found, self.asked = found, list[tuple[Path, ...]]()

    def __call__(self, paths: Sequence[Path]) -> DegradationSettings:
        self.asked.append(tuple(paths))
        return self.found


def test_the_distribution_follows_the_analysis(mixer: DegradationMixer, real: RealRecordings) -> None:
    analysis = Analysis()
    dataset = AdaptiveArtifactDataset(mixer, real, analysis, 12, every_epochs=3, recordings=2)
    for epoch in range(7):
        dataset.set_epoch(epoch)
        assert not any(clicky(dataset[index]) for index in range(4))
    assert len(analysis.asked) == 3 and all(len(paths) == 2 for paths in analysis.asked)
    assert len(set(analysis.asked)) > 1  # never the same recordings for long
    assert all(clicky(MixtureDataset(mixer, 0, 4)[index]) for index in range(4))  # the mixer itself is as it was
    resumed = AdaptiveArtifactDataset(mixer, real, Analysis(), 12, every_epochs=3, recordings=2)
    resumed.set_epoch(6)
    assert resumed.analyse.asked == analysis.asked[-1:]  # type: ignore[attr-defined]
    assert all(np.array_equal(a, b) for a, b in zip(dataset[1], resumed[1], strict=True))


def test_a_share_may_keep_the_first_distribution(mixer: DegradationMixer, real: RealRecordings) -> None:
    dataset = AdaptiveArtifactDataset(mixer, real, Analysis(), 60, share=0.5)
    dataset.set_epoch(0)
    assert 18 <= sum(clicky(dataset[index]) for index in range(60)) <= 42


def test_recordings_that_cannot_be_analysed(
    mixer: DegradationMixer, real: RealRecordings, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Sequence[Path]) -> DegradationSettings:
        raise AudioRestorerError("too short")

    dataset = AdaptiveArtifactDataset(mixer, real, fails, 4)
    with caplog.at_level(logging.WARNING):
        dataset.set_epoch(0)
    assert "too short" in caplog.text and clicky(dataset[0])


def test_the_analysis_of_the_project_finds_the_clicks_of_the_recordings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    for number in range(2):
        signal = 0.2 * np.sin(np.arange(20 * RATE) * 0.3) * (np.sin(np.arange(20 * RATE) * 0.001) > 0)
        signal += 0.002 * rng.standard_normal(len(signal))
        signal[rng.integers(0, len(signal), 160)] += 0.8
        sf.write(tmp_path / f"{number}.wav", signal, RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    analysis = FollowRecordings(CLICKS.model_copy(update={"hum": HISS.hum}))
    found = analysis([tmp_path / "0.wav", tmp_path / "1.wav", tmp_path / "bad.wav"])
    low, high = found.clicks.rate_per_sec
    assert low < 8 < high and found.hum.probability < 0.5 and found.revolution == CLICKS.revolution
    assert "bad.wav" in caplog.text
    (tmp_path / "0.wav").unlink()
    assert analysis([tmp_path / "0.wav", tmp_path / "1.wav"]) == found  # nothing is measured twice
    with pytest.raises(AudioRestorerError, match="none of 1 recordings"):
        analysis([tmp_path / "bad.wav"])


@pytest.mark.parametrize(("ratio", "batch"), [(0.7, 8), (0.7, 3), (0.3, 4), (1.0, 5), (0.0, 5)])
def test_each_batch_has_the_wanted_share(
    mixer: DegradationMixer, real: RealRecordings, ratio: float, batch: int
) -> None:
    dataset = MixedRestorationDataset(
        MixtureDataset(mixer, 0, 200 * batch), real, CurriculumScheduler(ratio, ratio, 9), batch, 1
    )
    counts = [dataset.count(step) for step in range(200)]
    assert all(abs(count - ratio * batch) < 1 for count in counts)
    assert np.mean(counts) == pytest.approx(ratio * batch, abs=0.02)
    assert dataset.synthetic_share == pytest.approx(ratio, abs=0.01)


def test_synthetic_and_real_examples(mixer: DegradationMixer, real: RealRecordings) -> None:
    ratio = CurriculumScheduler(1.0, 0.0, 8)
    dataset = MixedRestorationDataset(MixtureDataset(mixer, 0, 8), real, ratio, 2, 1)  # four steps an epoch
    flags = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        for index in range(8):
            mixture, target, is_real = dataset[index]
            flags.append(is_real)
            assert mixture.shape == target.shape == (1, RATE) and mixture.dtype == target.dtype == np.float32
            if is_real:
                assert np.array_equal(mixture[0], real.crop(1, epoch, index, RATE)) and not target.any()
            else:
                assert np.array_equal(mixture[0], mixer.example(epoch, index).mixture)
    assert not any(flags[:4]) and all(flags[-2:]) and sum(flags[:8]) < sum(flags[8:])
    with pytest.raises(IndexError):
        dataset[8]
