"""The enhancer over whole recordings: nothing moves, nothing is lost, and how a recording is cut does not show."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer.config import EnhanceSettings
from audiorestorer.dsp.overlap_add import plan_of, process
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.enhancer.noise import seeded
from audiorestorer.separators.enhancer import SpeechEnhancer, audible
from audiorestorer.separators.runtime.streaming import Recording
from tests.clean_speech import clean_speech
from tests.tiny_models import write_tiny_enhancer

RATE = 16_000
QUICK = EnhanceSettings(regenerate_all=True, nfe=2, solver="euler", window_sec=2.0, overlap_sec=0.5, sample_rate="auto")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "enhancer.safetensors"
    write_tiny_enhancer(path, RATE)
    return path


@pytest.fixture(scope="module")
def enhancer(checkpoint: Path) -> SpeechEnhancer:
    return SpeechEnhancer.load(checkpoint, QUICK, "cpu")


def speech(seconds: float, rate: int = RATE) -> np.ndarray:
    return (
        clean_speech(RATE)[:, : int(seconds * RATE)] if rate == RATE else clean_speech(rate)[:, : int(seconds * rate)]
    )


def difference_db(made: np.ndarray, wanted: np.ndarray) -> float:
    return 10 * float(np.log10(np.square(made - wanted).sum() / np.square(wanted).sum() + 1e-20))


@pytest.mark.parametrize("frames", [1, 7, 20, 21, 39, 40, 41, 77, 200])
def test_windows_have_one_size_cover_everything_and_their_weights_sum_to_one(frames: int) -> None:
    hop, window, overlap = 10, 200, 50
    total = frames * hop
    given = np.random.default_rng(0).standard_normal((2, total)).astype(np.float32)
    sizes, plan = [], plan_of(total, window, overlap, hop)

    def same(windows: np.ndarray) -> np.ndarray:
        sizes.append(windows.shape[2])
        assert any((given[:, start : start + plan.segment] == windows[0]).all() for start in range(0, total, hop))
        return windows

    made = np.concatenate(list(process([given], total, plan, same)), axis=1)
    assert (
        np.abs(made - given).max() < 1e-6
    )  # equal in both windows: a fade whose weights sum to one leaves it as it is
    assert set(sizes) == {min(total, plan.segment)} and max(sizes) <= window
    assert len(sizes) == (1 if total <= window else -(-total // (window - overlap)))


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (11_025, 2), (16_000, 3), (22_050, 2), (44_100, 1), (48_000, 2)]
)
def test_length_and_channels_are_kept_and_the_rate_is_the_higher_one(
    enhancer: SpeechEnhancer, rate: int, channels: int
) -> None:
    given = 0.1 * np.random.default_rng(rate).standard_normal((channels, 3 * rate + 17)).astype(np.float32)
    made = enhancer(given, rate)
    assert made.sample_rate == max(rate, RATE) and made.enhanced is not None
    frames = round(given.shape[1] * made.sample_rate / rate)
    assert made.denoised.shape == made.enhanced.shape == (channels, frames)
    if rate >= RATE:
        assert frames == given.shape[1]


def test_keep_and_a_denoiser_alone_keep_the_rate(checkpoint: Path) -> None:
    given = speech(1.0, 8000)
    for changes in ({"sample_rate": "keep"}, {"denoise_only": True}):
        made = SpeechEnhancer.load(checkpoint, QUICK.model_copy(update=changes), "cpu")(given, 8000)
        assert made.sample_rate == 8000 and made.denoised.shape == given.shape
        assert (made.enhanced is None) == ("denoise_only" in changes)


def test_denoised_speech_lies_where_it_was(enhancer: SpeechEnhancer) -> None:
    """The untrained denoiser is near the identity: at another rate, over several windows, nothing moves by a sample."""
    given = speech(5.0, 22_050)
    made = enhancer(given, 22_050).denoised
    spectra = np.fft.rfft(given[0]), np.fft.rfft(made[0])
    peak = int(np.argmax(np.fft.irfft(spectra[1] * spectra[0].conj())))
    assert peak == 0


def test_the_band_above_the_network_is_kept_with_the_denoiser_s_gain(enhancer: SpeechEnhancer) -> None:
    """Tones at 7 kHz, near the network's Nyquist frequency, and at 12 kHz, above it: both come out softer by the same."""
    time = np.arange(4 * 44_100) / 44_100
    given = np.stack([0.1 * np.sin(2 * np.pi * hertz * time) for hertz in (6500, 12_000)]).sum(axis=0, keepdims=True)
    given += 0.01 * np.random.default_rng(0).standard_normal(given.shape)
    made = enhancer(given.astype(np.float32), 44_100)
    inner = slice(22_050, -22_050)
    before = np.abs(np.fft.rfft(given[0, inner]))
    for output in (made.denoised, made.enhanced):
        after, hertz = np.abs(np.fft.rfft(output[0, inner])), np.fft.rfftfreq(len(time) - 44_100, 1 / 44_100)
        band = hertz > 9000
        gain = np.sqrt(np.square(after[band]).sum() / np.square(before[band]).sum())
        assert 0.3 < gain < 1
    assert np.array_equal(made.denoised.shape, given.shape)


def test_a_channel_is_treated_as_if_it_were_alone(enhancer: SpeechEnhancer) -> None:
    left, right = speech(3.0), 0.05 * speech(6.0)[:, -3 * RATE :]
    both = enhancer(np.concatenate([left, right]), RATE)
    for number, one in enumerate((left, right)):
        alone = enhancer(one, RATE)
        assert np.array_equal(both.denoised[number], alone.denoised[0])
        assert np.array_equal(both.enhanced[number], alone.enhanced[0])
    twice = enhancer(np.concatenate([left, left]), RATE).enhanced
    assert np.array_equal(twice[0], twice[1]) and np.array_equal(twice[0], both.enhanced[0])


def test_rows_together_and_blocks_change_nothing_but_rounding(checkpoint: Path, enhancer: SpeechEnhancer) -> None:
    given = np.concatenate([speech(7.0), -0.3 * speech(7.0)])
    wanted = enhancer(given, RATE)
    together = SpeechEnhancer.load(checkpoint, QUICK.model_copy(update={"batch_size": 5}), "cpu")(given, RATE)
    assert difference_db(together.enhanced, wanted.enhanced) < -80
    assert difference_db(together.denoised, wanted.denoised) < -80

    def cut() -> Iterator[np.ndarray]:
        for start in range(0, given.shape[1], 1234):
            yield given[:, start : start + 1234]

    blocks = list(enhancer.stream(Recording(cut, RATE, *given.shape)))
    assert difference_db(np.concatenate([block["enhanced"] for block in blocks], axis=1), wanted.enhanced) < -80


def test_equal_seeds_give_equal_bytes(enhancer: SpeechEnhancer) -> None:
    given = speech(3.0)
    first, again, other = (enhancer(given, RATE, seed) for seed in (1, 1, 2))
    assert first.enhanced.tobytes() == again.enhanced.tobytes()
    assert np.array_equal(first.denoised, other.denoised)
    assert difference_db(first.enhanced, other.enhanced) > -20


def test_silence_stays_silence(enhancer: SpeechEnhancer) -> None:
    made = enhancer(np.zeros((2, 3 * RATE), np.float32), RATE)
    assert not made.enhanced.any() and not made.denoised.any()
    given = speech(6.0)
    given[:, 2 * RATE : 4 * RATE] = 0
    made = enhancer(given, RATE)
    pause = slice(int(2.1 * RATE), int(3.9 * RATE))
    assert not made.enhanced[:, pause].any() and not made.denoised[:, pause].any()
    assert made.enhanced[:, : 2 * RATE].any() and made.enhanced[:, 4 * RATE :].any()
    given[:, 2 * RATE : 4 * RATE] = 1e-4 * np.random.default_rng(0).standard_normal(
        2 * RATE
    )  # a quiet room is no silence
    assert enhancer(given, RATE).enhanced[:, pause].any()


def test_the_gate_opens_before_the_audible_part() -> None:
    given = np.zeros((1, 100 * 10), np.float32)
    given[:, 500:600] = 0.1
    gain = audible(given, np.float32([0.1]), 10)
    assert (gain[:, 490:610] == 1).all() and (gain[:, :450] == 0).all() and (gain[:, 650:] == 0).all()


@pytest.mark.parametrize("scale", [100.0, 0.001])
def test_level_goes_through(enhancer: SpeechEnhancer, scale: float) -> None:
    given = speech(5.0)
    wanted, made = enhancer(given, RATE), enhancer(given * np.float32(scale), RATE)
    assert difference_db(made.enhanced / scale, wanted.enhanced) < -60
    assert difference_db(made.denoised / scale, wanted.denoised) < -60


def test_windows_agree_where_they_overlap(enhancer: SpeechEnhancer, checkpoint: Path) -> None:
    """Noise belongs to the place: what short windows make lies on what one long window makes, so fades lose no energy."""
    given = speech(8.0)
    short = enhancer(given, RATE).enhanced[0]
    long = SpeechEnhancer.load(checkpoint, QUICK.model_copy(update={"window_sec": 10.0}), "cpu")(given, RATE).enhanced[
        0
    ]
    assert np.corrcoef(short, long)[0, 1] > 0.9


def test_noise_of_a_place_does_not_depend_on_where_a_window_begins() -> None:
    like = torch.zeros(1)
    whole = seeded([3], 2, 300, like, [-20])
    for start, frames in ((-20, 5), (0, 100), (63, 2), (64, 64), (130, 150)):
        assert torch.equal(seeded([3], 2, frames, like, [start]), whole[:, :, start + 20 : start + 20 + frames])
    assert abs(float(seeded([4], 1, 300, like)[0, 0] @ whole[0, 0]) / 300) < 0.2
    assert float(whole.std()) == pytest.approx(1, abs=0.1)


def test_what_cannot_be_used_is_said(enhancer: SpeechEnhancer, tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="no samples"):
        enhancer(np.zeros((1, 0), np.float32), RATE)
    with pytest.raises(AudioRestorerError, match="NaN"):
        enhancer(np.full((1, RATE), np.nan, np.float32), RATE)
    write_tiny_enhancer(tmp_path / "part.safetensors", parts=("denoiser",))
    with pytest.raises(AudioRestorerError, match="holds no irmae, flow, vocoder; the denoiser alone can be used"):
        SpeechEnhancer.load(tmp_path / "part.safetensors", QUICK, "cpu")
    only = SpeechEnhancer.load(tmp_path / "part.safetensors", QUICK.model_copy(update={"denoise_only": True}), "cpu")
    assert only(speech(1.0), RATE).enhanced is None


@pytest.mark.parametrize("rate", [8_000, RATE])
def test_a_block_that_was_given_on_is_not_kept(checkpoint: Path, rate: int) -> None:
    """Noise that is denoised: in a band that something is made above (8 kHz), and in a whole one."""
    settings = QUICK.model_copy(update={"regenerate_all": False, "nfe": 1})
    enhancer = SpeechEnhancer.load(checkpoint, settings, "cpu")
    block = 0.1 * np.random.default_rng(0).standard_normal((1, rate)).astype(np.float32)
    recording = Recording(lambda: (block for _ in range(60)), rate, 1, 60 * rate)
    given, most = [], 0
    for made in enhancer.stream(recording):
        given += [weakref.ref(signal) for signal in made.values()]
        del made
        most = max(most, sum(each() is not None for each in given))
    assert len(given) == 12 and most <= 4


PEAK = """
import resource, sys
import numpy as np
from audiorestorer.config import EnhanceSettings
from audiorestorer.separators.enhancer import SpeechEnhancer
from audiorestorer.separators.runtime.streaming import Recording
seconds, rate = int(sys.argv[2]), 16000
block = 0.1 * np.random.default_rng(0).standard_normal((1, rate)).astype(np.float32)
enhancer = SpeechEnhancer.load(sys.argv[1], EnhanceSettings(nfe=1, solver="euler"), "cpu")
recording = Recording(lambda: (block for _ in range(seconds)), rate, 1, seconds * rate)
assert sum(made["enhanced"].shape[1] for made in enhancer.stream(recording)) == seconds * rate
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(checkpoint: Path) -> None:
    peaks = [
        int(subprocess.run([sys.executable, "-c", PEAK, str(checkpoint), str(seconds)], capture_output=True, check=True).stdout)
        for seconds in (60, 240)  # the allocator has what it keeps after a minute
    ]  # fmt: skip
    assert peaks[1] - peaks[0] < 30_000, (
        peaks
    )  # kB; three minutes more are 12 MB of samples alone, and as much of each output
