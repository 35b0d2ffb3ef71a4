"""The mixer: exact ratios, shares as asked, and every example from (seed, epoch, index) alone."""

from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.levels import active_mask, scale_to_snr, snr_db
from audiorestorer.datasets.mixtures import Mixer, MixtureDataset, MixtureSettings
from audiorestorer.datasets.noise import noises
from audiorestorer.errors import AudioRestorerError
from tests.datasets.conftest import RATE

PLAIN = {"pure_speech": 0.0, "no_speech": 0.0}


@pytest.fixture(scope="module")
def bank(training_audio: Path) -> AudioBank:
    return AudioBank(training_audio, None, RATE)


@pytest.mark.parametrize("task", ["separate", "denoise"])
def test_snr_is_what_was_asked(bank: AudioBank, task: str) -> None:
    mixer = Mixer(bank, MixtureSettings(snr_db=(-5, 20), band_limit=0, **PLAIN), task, seed=3)  # type: ignore[arg-type]
    for index in range(60):
        example = mixer.example(0, index)
        measured = snr_db(example.target, example.mixture - example.target, RATE)
        assert abs(measured - example.snr_db) < 0.1
        assert np.abs(example.mixture).max() <= 1.0001


def test_examples_are_reproducible_whatever_the_workers(bank: AudioBank) -> None:
    mixer = Mixer(bank, MixtureSettings(), "separate", seed=7)
    once = list(DataLoader(MixtureDataset(mixer, 4, 12), 4, num_workers=0))
    again = list(DataLoader(MixtureDataset(mixer, 4, 12), 4, num_workers=2))
    for first, second in zip(once, again, strict=True):
        assert all(bool((a == b).all()) for a, b in zip(first, second, strict=True))
    late = mixer.example(4, 11)
    assert np.array_equal(late.mixture, once[2][0][3, 0].numpy())
    assert not np.array_equal(late.mixture, mixer.example(5, 11).mixture)


def test_shares_of_pure_speech_and_of_no_speech(bank: AudioBank) -> None:
    mixer = Mixer(bank, MixtureSettings(pure_speech=0.3, no_speech=0.2), "separate", seed=1)
    examples = [mixer.example(0, index) for index in range(300)]
    pure = sum(np.array_equal(e.mixture, e.target) for e in examples) / len(examples)
    lonely = sum(not e.target.any() and e.mixture.any() for e in examples) / len(examples)
    assert abs(pure - 0.3) < 0.08 and abs(lonely - 0.2) < 0.07


def test_whispers_and_second_speakers_are_targets(bank: AudioBank) -> None:
    """Two voices at once have more energy in the target than the first alone has, by 0 to 9 dB less; a whisper has no voice."""
    base = {**PLAIN, "equaliser": 0, "reverb": 0, "band_limit": 0, "gain_db": (-1e-9, 0), "pure_speech": 1.0}
    alone, two, whisper = (
        Mixer(bank, MixtureSettings(**{**base, **more}), "separate", seed=2)._voices(np.random.default_rng(5))
        for more in ({}, {"second_speaker": 1.0}, {"whisper": 1.0})
    )
    second = two - alone
    assert 0 <= snr_db(alone, second, RATE) <= 9
    assert not np.allclose(whisper, alone) and np.square(whisper).mean() == pytest.approx(
        np.square(alone).mean(), rel=0.01
    )


def test_band_limit_cuts_mixture_and_target(bank: AudioBank) -> None:
    mixer = Mixer(bank, MixtureSettings(band_limit=1.0), "denoise", seed=1)
    bank_rate_bins = noises.low_pass(1001, 22050, 4000)
    assert bank_rate_bins[0] == 1 and bank_rate_bins[-1] < 1e-6
    example = mixer.example(0, 1)
    assert example.mixture.shape == example.target.shape == (int(1.5 * RATE),)


def test_splits_do_not_mix(bank: AudioBank) -> None:
    starts = {split: {clip.start for clip in bank.clips("speech", split)} for split in ("train", "valid", "test")}
    assert not starts["train"] & starts["test"] and not starts["train"] & starts["valid"]


def test_cached_bank_equals_memory(training_audio: Path, tmp_path: Path, bank: AudioBank) -> None:
    for _ in range(2):  # made, then read
        cached = AudioBank(training_audio, tmp_path, RATE)
        clip = cached.clips("music", "train")[1]
        assert np.array_equal(cached.read(clip, 100, 500), bank.read(bank.clips("music", "train")[1], 100, 500))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in files) == [".json", ".npy"]


def test_bank_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match=r"index\.jsonl"):
        AudioBank(tmp_path, None, RATE)
    (tmp_path / "index.jsonl").write_text('{"path": "a.flac"}\n')
    with pytest.raises(AudioRestorerError, match=r"index\.jsonl:1: lacks kind"):
        AudioBank(tmp_path, None, RATE)


def test_settings_refuse_nonsense() -> None:
    for bad in ({"snr_db": (5, 1)}, {"pure_speech": 0.7, "no_speech": 0.7}, {"snr": 3}):
        with pytest.raises(ValueError):
            MixtureSettings(**bad)


def test_active_level_ignores_pauses() -> None:
    rng = np.random.default_rng(0)
    speech = rng.standard_normal(RATE).astype(np.float32)
    paused = np.concatenate([speech, np.zeros(RATE, np.float32)])
    noise = rng.standard_normal(2 * RATE).astype(np.float32)
    assert active_mask(paused, RATE).mean() == pytest.approx(0.5, abs=0.02)
    assert snr_db(paused, noise, RATE) == pytest.approx(snr_db(speech, noise[:RATE], RATE), abs=0.1)
    assert snr_db(paused, scale_to_snr(paused, noise, 7.0, RATE), RATE) == pytest.approx(7.0, abs=1e-4)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_coloured_noise_has_its_slope(exponent: float) -> None:
    noise = noises.coloured(np.random.default_rng(0), 1 << 16, exponent)
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [10 * np.log10(power[1 << k : 2 << k].mean()) for k in range(8, 15)]
    assert np.polyfit(np.arange(7), octaves, 1)[0] == pytest.approx(-3.01 * exponent, abs=0.3)


def test_hum_lies_on_its_harmonics_and_crackle_is_impulsive() -> None:
    hum = noises.hum(np.random.default_rng(0), 4 * RATE, RATE)
    spectrum = np.sort(np.abs(np.fft.rfft(hum * np.hanning(len(hum)))) ** 2)[::-1]
    assert spectrum[:120].sum() / spectrum.sum() > 0.98
    crackle = noises.crackle(np.random.default_rng(0), 4 * RATE, RATE)
    assert np.mean(crackle**4) / np.mean(crackle**2) ** 2 > 10


def band_db(signal: np.ndarray, low: float, high: float) -> float:
    """Share of the energy between two frequencies, dB."""
    power = np.abs(np.fft.rfft(signal)) ** 2
    frequency = np.fft.rfftfreq(len(signal), 1 / RATE)
    return float(10 * np.log10(power[(frequency >= low) & (frequency < high)].sum() / power.sum()))


def test_speech_shaped_noise_has_the_spectrum_and_not_the_pauses() -> None:
    rng = np.random.default_rng(0)
    speech = noises.coloured(rng, 4 * RATE, 1.5) * np.repeat(np.tile([1.0, 0.0], 8), RATE // 4)[: 4 * RATE]
    noise = noises.speech_shaped(rng, speech.astype(np.float32))
    for low, high in ((100, 300), (300, 1000), (1000, 3000), (3000, 8000)):
        assert band_db(noise, low, high) == pytest.approx(band_db(speech, low, high), abs=1.0)
    assert np.std(noise[RATE // 4 : RATE // 2]) > 0.7  # there the speech is silent


def test_impacts_are_sudden_engines_are_harmonic_and_wind_is_low() -> None:
    def kurtosis(signal: np.ndarray) -> float:
        return float(np.mean(signal**4) / np.mean(signal**2) ** 2)

    for seed in range(5):
        struck = noises.impacts(np.random.default_rng(seed), 4 * RATE, RATE)
        gust = noises.wind(np.random.default_rng(seed), 4 * RATE, RATE)
        motor = noises.engine(np.random.default_rng(seed), 4 * RATE, RATE)
        assert kurtosis(struck) > 5 > kurtosis(noises.coloured(np.random.default_rng(seed), 4 * RATE, 0))
        assert band_db(gust, 0, 500) > -1
        assert band_db(motor, 0, 4000) > -1.5
        for signal in (struck, gust, motor):
            assert len(signal) == 4 * RATE and np.isfinite(signal).all() and np.std(signal) == pytest.approx(1, abs=0.1)


def test_separation_may_have_noise_in_it(bank: AudioBank) -> None:
    chosen = {"band_limit": 0.0, "equaliser": 0.0, "reverb": 0.0, **PLAIN}
    plain = Mixer(bank, MixtureSettings(**chosen), "separate", seed=2)
    noisy = Mixer(bank, MixtureSettings(noise=0.5, **chosen), "separate", seed=2)
    changed = 0
    for index in range(200):
        pair = [mixer.example(0, index) for mixer in (plain, noisy)]
        speech, other = (
            np.corrcoef(*parts)[0, 1] for parts in zip(*((e.target, e.mixture - e.target) for e in pair), strict=True)
        )
        assert speech == pytest.approx(1, abs=1e-6)  # what is wanted does not depend on it
        changed += other < 0.999
    assert abs(changed / 200 - 0.5) < 0.1


def test_gate_with_everything_open_is_the_signal() -> None:
    class Open:
        """Stands in for a generator: every patch passes."""

        def integers(self, *_: int) -> int:
            return 2

        def random(self, shape: tuple[int, int]) -> np.ndarray:
            return np.ones(shape)

        def uniform(self, low: float, high: float) -> float:
            return low

    signal = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    assert np.allclose(noises.gated(Open(), signal), signal, atol=1e-5)  # type: ignore[arg-type]
