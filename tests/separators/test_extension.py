"""The enhancer of kind `extension`: the network in NumPy and in torch, and what it does to whole recordings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer.config import EnhanceSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import extension
from audiorestorer.models.extension_net import ExtensionNet
from audiorestorer.separators import Loaded
from audiorestorer.separators.extension import SpeechRepair
from audiorestorer.separators.runtime.spool import Spool
from audiorestorer.separators.runtime.streaming import Recording
from tests.dsp.test_repairs import lossy, spoken, voice
from tests.tiny_models import write_tiny_extension

RATE = 16_000
BAND_HZ = 4000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "extension.safetensors"
    write_tiny_extension(path, RATE)
    return path


@pytest.fixture(scope="module")
def repair(checkpoint: Path) -> SpeechRepair:
    return SpeechRepair.load(checkpoint, EnhanceSettings(window_sec=2.0, overlap_sec=0.5))


def narrow(signal: np.ndarray, rate: int = RATE, limit_hz: float = BAND_HZ) -> np.ndarray:
    """Without all that lies above a limit."""
    spectrum = np.fft.rfft(signal)
    spectrum[..., np.fft.rfftfreq(signal.shape[-1], 1 / rate) > limit_hz] = 0
    return np.fft.irfft(spectrum, signal.shape[-1]).astype(np.float32)


def band_power(signal: np.ndarray, low_hz: float, high_hz: float, rate: int = RATE) -> float:
    frequency = np.fft.rfftfreq(signal.shape[-1], 1 / rate)
    windowed = signal * np.hanning(signal.shape[-1])
    return float(np.sum(np.abs(np.fft.rfft(windowed))[..., (frequency >= low_hz) & (frequency < high_hz)] ** 2))


def test_numpy_and_torch_are_one_network(checkpoint: Path) -> None:
    config, network = extension.load(checkpoint)
    net = ExtensionNet(config).eval()
    state, _ = extension.arrays.read(checkpoint)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, strict=False)
    given = np.stack([narrow(voice(1.0, seed=seed)) for seed in (1, 2)]) * np.float32(5)
    limits = np.array([3900.0, 3000.0])
    made = given + extension.made_above(config, network, given, limits, [7, 8], [0, 3], gain=1.0)
    frames = net.frames(given.shape[1])
    noise = np.stack([extension.noise(config, 7, 0, frames), extension.noise(config, 8, 3, frames)])
    with torch.inference_mode():
        wanted = net(torch.from_numpy(given), torch.from_numpy(limits).float(), torch.from_numpy(noise)).numpy()
    assert np.abs(made - wanted).max() < 3e-4 * np.abs(wanted).max()


def test_nothing_is_made_below_the_crossing_and_nothing_in_silence(checkpoint: Path) -> None:
    config, network = extension.load(checkpoint)
    given = np.concatenate([narrow(voice(1.0)), np.zeros(RATE, np.float32)])[None] * np.float32(8)
    added = extension.made_above(config, network, given, np.array([4000.0]), [1], [0])[0]
    below, above = band_power(added[:RATE], 0, 3600), band_power(added[:RATE], 4200, 8000)
    assert above > 0 and below < 1e-4 * above
    assert np.abs(added[RATE + config.n_fft :]).max() == 0


def test_what_lies_above_the_limit_stays(checkpoint: Path) -> None:
    config, network = extension.load(checkpoint)
    loud = np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32)  # more than the network would make
    made = extension.made_above(config, network, loud, np.array([4000.0]), [1], [0])
    assert np.abs(made[:, config.n_fft : -config.n_fft]).max() < 2e-3


def test_noise_belongs_to_a_place() -> None:
    config = extension.ExtensionConfig(sample_rate=RATE, bands=8)
    whole = extension.noise(config, 3, 0, 300)
    assert (extension.noise(config, 3, 130, 50) == whole[:, 130:180]).all()
    assert np.allclose(np.abs(whole), 1) and not (extension.noise(config, 4, 0, 300) == whole).all()


def test_clean_speech_passes_bit_by_bit(repair: SpeechRepair) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)  # holds the whole band
    given = np.stack([voice(2.0) + 0.02 * noise.astype(np.float32)] * 2)
    made = repair(given, RATE)
    assert made.sample_rate == RATE and (made.enhanced == given).all() and (made.denoised == given).all()
    assert made.found == ()


def test_a_narrow_band_is_kept_and_gets_what_it_lacks(repair: SpeechRepair) -> None:
    given = np.stack([narrow(voice(5.0)), 0.3 * narrow(voice(5.0, seed=4))])
    made = repair(given, RATE)
    assert made.enhanced is not None and (made.denoised == given).all() and made.found == ("a band of 3.9 kHz",)
    change = made.enhanced - given
    assert band_power(change, 0, 3500) < 1e-4 * band_power(change, 4200, 8000)
    alone = repair(given[1:], RATE).enhanced
    assert alone is not None and np.abs(alone - made.enhanced[1:]).max() < 1e-5
    louder = repair(given * np.float32(20), RATE).enhanced
    assert louder is not None and np.abs(louder / 20 - made.enhanced).max() < 1e-3 * np.abs(change).max()
    assert (repair(given, RATE).enhanced == made.enhanced).all()  # equal seeds, equal bytes
    other = repair(given, RATE, seed=1).enhanced
    assert other is not None and np.abs(other - made.enhanced).max() > 0.1 * np.abs(change).max()


def test_rates_lengths_and_the_steps_that_are_left_out(checkpoint: Path, repair: SpeechRepair) -> None:
    low = voice(1.0, 8000)[None]
    made = repair(low, 8000)
    assert made.sample_rate == RATE and made.enhanced is not None and made.enhanced.shape == (1, 2 * low.shape[1])
    kept = SpeechRepair.load(checkpoint, EnhanceSettings(sample_rate="keep"))(low, 8000)
    assert kept.sample_rate == 8000 and (kept.enhanced == low).all()  # at 8 kHz it lacks nothing
    high = np.stack([narrow(voice(1.0, 48_000), 48_000)])
    wide = repair(high, 48_000)
    assert wide.sample_rate == 48_000 and wide.enhanced is not None and wide.enhanced.shape == high.shape
    only = SpeechRepair.load(checkpoint, EnhanceSettings(denoise_only=True))(low, 8000)
    assert only.enhanced is None and only.sample_rate == 8000
    with pytest.raises(AudioRestorerError, match="regenerate_all"):
        SpeechRepair.load(checkpoint, EnhanceSettings(regenerate_all=True))
    with pytest.raises(AudioRestorerError, match="100 Hz"):
        repair(np.zeros((1, 500), np.float32), 100)
    for empty, reason in ((np.zeros((1, 0)), "empty"), (np.full((1, 99), np.nan), "NaN")):
        with pytest.raises(AudioRestorerError, match=reason):
            repair(empty.astype(np.float32), RATE)
    assert not np.any(repair(np.zeros((1, RATE), np.float32), RATE).enhanced)


def test_clipping_and_dropouts_are_mended_first(repair: SpeechRepair) -> None:
    clean = spoken()
    limit = 0.3 * np.abs(clean).max()
    mended = repair(np.clip(clean, -limit, limit)[None], RATE)
    made = mended.denoised[0]
    assert mended.found[0] == "clipping"
    assert np.mean((made - clean) ** 2) < 0.25 * np.mean((np.clip(clean, -limit, limit) - clean) ** 2)
    clean = voice(2.0) + 0.002 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    broken, gaps = lossy(clean, RATE)
    filled = repair(broken[None], RATE).denoised[0]
    begin, end = gaps[0]
    assert np.abs(filled[begin:end]).max() > 0.3 * np.abs(clean[begin:end]).max()


class Half:
    """A denoiser that lets half through."""

    sample_rate, channels, segment_sec, align = RATE, 1, 1.0, 1


def test_noise_is_denoised_as_far_as_there_is_any(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiorestorer.separators import extension as module

    monkeypatch.setattr(
        module, "estimates", lambda loaded, recording: ({"vocals": 0.5 * block} for block in recording.open())
    )
    repair = SpeechRepair.load(checkpoint, EnhanceSettings(), Loaded(Half()))  # type: ignore[arg-type]
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    noisy = (voice(4.0) + 0.05 * noise)[None]
    made = repair(noisy, RATE)
    assert np.allclose(made.denoised, 0.5 * noisy) and any(one.startswith("noise ") for one in made.found)
    quiet = (voice(4.0) + 1e-5 * noise)[None]
    assert (repair(quiet, RATE).denoised == quiet).all() and repair(quiet, RATE).found == ()
    padded = np.pad(noisy, ((0, 0), (0, RATE)))  # digital silence is no sign of a quiet recording
    assert np.allclose(repair(padded, RATE).denoised, 0.5 * padded)
    short = voice(0.3)[None]
    assert (repair(short, RATE).denoised == short).all()  # too short to tell
    low = narrow(noisy[0], limit_hz=3000)[None]  # the denoiser never learned such a band: it takes 8 dB at most
    assert np.allclose(repair(low, RATE).denoised, (0.4 + 0.6 * 0.5) * low)
    # strong noise covers the speech above 4 kHz, and what the denoiser leaves of it gets more; weak noise does not
    assert made.found[-1] == "a band of 4.0 kHz that the noise left" and made.enhanced is not None
    added = made.enhanced - made.denoised
    assert band_power(added, 4200, 8000) > 0 and band_power(added, 0, 3500) < 1e-4 * band_power(added, 4200, 8000)
    weak = repair((voice(4.0) + 0.003 * noise)[None], RATE)
    assert len(weak.found) == 1 and weak.found[0].startswith("noise ") and (weak.enhanced == weak.denoised).all()
    monkeypatch.setattr(
        module, "estimates", lambda loaded, recording: ({"vocals": 0.1 * block} for block in recording.open())
    )
    music = repair(noisy, RATE)  # nothing that the denoiser takes for speech: left alone
    assert (music.enhanced == noisy).all() and music.found == ("no speech that the denoiser knows: left as it is",)


def test_a_spool_can_be_read_by_several_in_turns() -> None:
    whole = np.random.default_rng(0).standard_normal((2, 3 * RATE)).astype(np.float32)
    recording = Recording(lambda: iter([whole]), RATE, 2, whole.shape[1])
    with Spool() as spool:
        twice = spool.after(recording, lambda blocks: (2 * block for block in blocks))
        first, second = twice.open(), twice.open()
        begin = next(first)
        assert (np.concatenate(list(second), axis=1) == 2 * whole).all()
        assert (np.concatenate([begin, *first], axis=1) == 2 * whole).all()


PEAK = """
import resource, sys
import numpy as np
from audiorestorer.separators.extension import SpeechRepair
from audiorestorer.separators.runtime.streaming import Recording
from tests.dsp.test_repairs import voice
seconds, rate = int(sys.argv[2]), 8000
block = np.clip(voice(1.0, rate), -0.1, 0.1)[None]
repair = SpeechRepair.load(sys.argv[1])
recording = Recording(lambda: (block for _ in range(seconds)), rate, 1, seconds * rate)
assert sum(made["enhanced"].shape[1] for made in repair.stream(recording)) == seconds * 16000
assert "torch" not in sys.modules
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_and_torch_is_not_needed(checkpoint: Path) -> None:
    def peak(seconds: int) -> int:
        command = [sys.executable, "-c", PEAK, str(checkpoint), str(seconds)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    assert peak(120) - peak(20) < 15_000  # kB; a hundred seconds more are 6.4 MB of each output


def test_windows_cannot_be_heard(checkpoint: Path) -> None:
    given = narrow(voice(6.0))[None]

    def made(window_sec: float) -> np.ndarray:
        settings = EnhanceSettings(window_sec=window_sec, overlap_sec=0.5)
        out = SpeechRepair.load(checkpoint, settings)(given, RATE).enhanced
        assert out is not None
        return out - given

    short, long = made(2.0), made(30.0)
    assert np.mean((short - long) ** 2) < 0.01 * np.mean(long**2)


def cut(signal: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (signal[:, begin : begin + size] for begin in range(0, signal.shape[1], size))


def test_blocks_change_nothing_but_rounding(repair: SpeechRepair) -> None:
    given = narrow(voice(3.0))[None]
    recording = Recording(lambda: cut(given, 1234), RATE, 1, given.shape[1])
    made = np.concatenate([block["enhanced"] for block in repair.stream(recording)], axis=1)
    wanted = repair(given, RATE).enhanced
    assert wanted is not None and np.abs(made - wanted).max() < 1e-6
