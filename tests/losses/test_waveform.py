"""Losses: zero where they should be, growing with the error, finite on silence."""

from pathlib import Path

import numpy as np
import pystoi
import pytest
import soundfile as sf
import soxr
import torch
from scipy import signal

from audiorestorer.errors import AudioRestorerError
from audiorestorer.losses.intelligibility import stoi
from audiorestorer.losses.perceptual import pesq
from audiorestorer.losses.waveform import LOSSES, check_losses, mr_stft, si_sdr_db, weighted
from audiorestorer.training.settings import load_settings

RATE = 22_050
PILOT = Path(__file__).parents[2] / "data/pilot"


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = torch.randn(3, 1, 6000)
    return target + 0.1 * torch.randn_like(target), target


def test_si_sdr_of_known_noise() -> None:
    target = torch.randn(1, 1, 100_000, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 1, 100_000, generator=torch.Generator().manual_seed(2))
    for wanted in (0.0, 10.0, 25.0):
        estimate = 3.0 * (target + 10 ** (-wanted / 20) * noise) + 0.5  # neither gain nor offset counts
        assert float(si_sdr_db(estimate, target)) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_zero_at_the_target_and_growing(name: str) -> None:
    estimate, target = pair()
    worse = target + 3 * (estimate - target)
    assert float(LOSSES[name](target, target, RATE)) == pytest.approx(0, abs=1e-5)
    assert 0 < float(LOSSES[name](estimate, target, RATE)) < float(LOSSES[name](worse, target, RATE))


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("silent", ["target", "estimate", "both"])
def test_silence_gives_finite_values_and_gradients(name: str, silent: str) -> None:
    estimate, target = pair()
    if silent in ("target", "both"):
        target = torch.zeros_like(target)
    if silent in ("estimate", "both"):
        estimate = torch.zeros_like(estimate)
    estimate.requires_grad_()
    loss = LOSSES[name](estimate, target, RATE)
    loss.backward()  # type: ignore[no-untyped-call]
    assert np.isfinite(float(loss.detach())) and estimate.grad is not None and estimate.grad.isfinite().all()


def test_one_silent_target_does_not_outweigh_the_batch() -> None:
    estimate, target = pair()
    with_silence = target.clone()
    with_silence[0] = 0
    assert float(LOSSES["mr_stft"](estimate, with_silence, RATE)) < 4
    assert float(LOSSES["si_sdr"](estimate, with_silence, RATE)) < 30


def test_weights_and_names() -> None:
    estimate, target = pair()
    total, parts = weighted({"l1": 2.0, "si_sdr": 0.1}, estimate, target, RATE)
    assert float(total) == pytest.approx(2 * float(parts["l1"]) + 0.1 * float(parts["si_sdr"]))
    with pytest.raises(AudioRestorerError, match=r"losses: loss 'mse': not one of mr_stft, .*losses/waveform\.py"):
        load_settings({"losses": {"mse": 1.0}})


def test_a_loss_that_is_forgotten_or_cannot_be_called_is_an_error_at_start_up() -> None:
    def log_l1(estimate: torch.Tensor, target: torch.Tensor, sample_rate: int) -> torch.Tensor:
        return (estimate - target).abs().log1p().mean()

    def without_rate(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (estimate - target).abs().mean()

    check_losses({"log_l1": log_l1}, {"log_l1": log_l1, "si_sdr_db": si_sdr_db})
    for table, module, message in (
        ({}, {"log_l1": log_l1}, "log_l1 takes an estimate, as a loss does: add it to LOSSES"),
        ({}, {"without_rate": without_rate}, "without_rate takes an estimate"),
        ({"without_rate": without_rate}, {}, "without_rate.* must take estimate, target, sample_rate"),
    ):
        with pytest.raises(AudioRestorerError, match=rf"losses/waveform\.py: .*{message}"):
            check_losses(table, module)  # type: ignore[arg-type]


def test_spectral_loss_of_a_gain() -> None:
    """At twice the level of a signal of RMS 1, spectral convergence is 1 and the logarithms differ by log((1 + 2sm) / (1 + sm))."""
    target = torch.randn(2, 1, 20_000, generator=torch.Generator().manual_seed(3))
    triples = ((512, 100, 400), (1024, 256, 1024))
    magnitude = (
        torch.rand(200_000, generator=torch.Generator().manual_seed(4)).log() * -1
    ).sqrt()  # Rayleigh, mean square 1
    for slope in (1.0, 100.0):
        wanted = 1 + float((torch.log1p(2 * slope * magnitude) - torch.log1p(slope * magnitude)).mean())
        for resolutions in (triples[:1], triples):
            assert float(mr_stft(2 * target, target, RATE, resolutions, slope)) == pytest.approx(wanted, rel=0.02)
    quiet = 0.01 * target  # 40 dB down: a steep logarithm counts it
    flat, steep = (float(mr_stft(target + quiet, target, RATE, triples, slope)) for slope in (1.0, 100.0))
    assert steep > flat > 0


def syllables(rng: np.random.Generator, rate: int, seconds: float = 4.0) -> np.ndarray:
    """Noise in the bands of speech whose level comes and goes four times a second, without pauses. `[T]`."""
    frames = int(seconds * 20)
    out = np.zeros(int(seconds * rate))
    knots = np.linspace(0, frames - 1, len(out))
    for centre in 150 * 2 ** (np.arange(15) / 3):
        band = signal.sosfilt(
            signal.butter(2, [0.9 * centre, min(1.1 * centre, 0.49 * rate)], "bandpass", fs=rate, output="sos"),
            rng.standard_normal(len(out)),
        )
        out += band / band.std() * 10 ** (np.interp(knots, np.arange(frames), rng.uniform(-15, 0, frames)) / 20)
    return out / out.std()


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("snr_db", [-5.0, 5.0, 15.0])
def test_stoi_is_what_pystoi_says(rate: int, snr_db: float) -> None:
    rng = np.random.default_rng(3)
    target = syllables(rng, rate)
    estimate = target + 10 ** (-snr_db / 20) * rng.standard_normal(len(target))
    as_batch = [torch.from_numpy(x.astype(np.float32))[None, None] for x in (estimate, target)]
    assert 1 - float(stoi(*as_batch, rate)) == pytest.approx(pystoi.stoi(target, estimate, rate), abs=0.02)


def test_neither_level_nor_a_silent_item_counts_in_stoi() -> None:
    rng = np.random.default_rng(4)
    target = torch.from_numpy(np.stack([syllables(rng, 16_000) for _ in range(2)]).astype(np.float32))[:, None]
    estimate = target + torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    alone = float(stoi(estimate[:1], target[:1], 16_000))
    assert float(stoi(3 * estimate[:1], target[:1], 16_000)) == pytest.approx(alone, abs=1e-3)
    target[1] = 0
    assert float(stoi(estimate, target, 16_000)) == pytest.approx(alone, abs=1e-5)


def test_pesq_loss_is_what_pesq_takes_off() -> None:
    """The package's score is a curve of the disturbances (P.862.2), the loss their sum: undone, the curve gives the loss back."""
    measured = pytest.importorskip("pesq").pesq
    rng = np.random.default_rng(5)
    clip, rate = sf.read(PILOT / "clean/audiobook/chapter_03.flac", dtype="float32", always_2d=True)
    speech, scores, losses = soxr.resample(clip.mean(axis=1), rate, 16_000).astype(np.float64), [], []
    scale = speech.std()
    hum = np.sin(2 * np.pi * 120 * np.arange(len(speech)) / 16_000)
    for disturbance in (rng.standard_normal(len(speech)), hum, np.roll(speech, 1600) / scale):
        for level_db in (-40, -30, -20, -10, 0):
            estimate = speech + scale * 10 ** (level_db / 20) * disturbance
            scores.append(measured(16_000, speech.astype(np.float32), estimate.astype(np.float32), "wb"))
            losses.append(
                float(pesq(*(torch.from_numpy(x.astype(np.float32))[None, None] for x in (estimate, speech)), 16_000))
            )
    opinions = 0.999 + 4 / (1 + np.exp(-1.3669 * (4.5 - np.array(losses)) + 3.8224))
    np.testing.assert_allclose(opinions, scores, atol=0.2)


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_pesq_loss_has_a_finite_gradient_where_nothing_is_heard(rate: int) -> None:
    target = torch.from_numpy(syllables(np.random.default_rng(6), rate).astype(np.float32))[None, None].repeat(3, 1, 1)
    target[1, :, rate : 3 * rate] = 0
    target[2] = 0
    estimate = (target + 0.001 * torch.randn(target.shape, generator=torch.Generator().manual_seed(2))).requires_grad_()
    loss = pesq(estimate, target, rate)
    loss.backward()
    assert 0 <= float(loss.detach()) < 0.5 and estimate.grad is not None and bool(torch.isfinite(estimate.grad).all())
    assert float(pesq(target, target, rate)) < 0.01 and float(pesq(target[2:], target[2:], rate)) == 0
