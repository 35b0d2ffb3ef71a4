"""Consistency: what a restorer should give beats every way of cheating, the gradient leads there, and silence breaks nothing."""

import numpy as np
import pytest
import torch
from scipy import signal

from audiorestorer.losses import consistency
from audiorestorer.losses.contrastive import contrastive
from audiorestorer.losses.remix import remix, remixed

RATE = 22050
LENGTH = 2 * RATE


def voice(seed: int) -> np.ndarray:
    """Words with pauses: a buzz through moving formants, and hiss-like consonants up to the Nyquist frequency."""
    rng = np.random.default_rng(seed)
    out = np.zeros(LENGTH)
    for start in range(2000, LENGTH - 7000, 7500):
        size = 5000
        pitch = np.cumsum(rng.uniform(110, 180) * (1 + 0.1 * np.linspace(0, 1, size))) / RATE
        word = np.maximum(np.sin(2 * np.pi * pitch), 0) ** 3 + 0.01 * rng.standard_normal(size)  # a soft glottal pulse
        for formant in rng.uniform(400, 3500, 3):
            b, a = signal.iirpeak(formant, 6, RATE)
            word = word + signal.lfilter(b, a, word)
        word[-1500:] += 0.8 * word.std() * signal.lfilter([1, -0.7], [1], rng.standard_normal(1500))
        out[start : start + size] += word / np.abs(word).max() * np.hanning(size) ** 0.3
    return out / out.std()


def clicks(seed: int, rate_per_sec: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out, time = np.zeros(LENGTH), np.arange(12)
    for start in rng.integers(0, LENGTH - 20, max(1, rng.poisson(rate_per_sec * LENGTH / RATE))):
        shape = np.exp(-time / 2.5) * np.cos(time * rng.uniform(0.3, 2))
        out[start : start + 12] += 3 * 10 ** (rng.normal(0, 5) / 20) * rng.choice([-1, 1]) * shape
    return out


def low_pass(x: torch.Tensor, share: float) -> torch.Tensor:
    spectrum = torch.fft.rfft(x)
    spectrum[..., int(share * spectrum.shape[-1]) :] = 0
    return torch.fft.irfft(spectrum, x.shape[-1])


def total(estimate: torch.Tensor, mixture: torch.Tensor) -> float:
    return float(consistency.consistency(estimate, mixture))


@pytest.fixture(scope="module", params=[(1, 2.0), (2, 10.0), (3, 30.0)])
def recording(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mixture, clean and clicks `[1, 1, T]`, at a mixture of RMS 1."""
    seed, rate = request.param
    clean, found = voice(seed), clicks(seed, rate)
    hiss = 10 ** (-28 / 20) * np.random.default_rng(seed).standard_normal(LENGTH)
    mixture = clean + found + hiss
    x, c, k = (torch.from_numpy((v / mixture.std()).astype(np.float32))[None, None] for v in (mixture, clean, found))
    return x, c, k


def test_the_clean_recording_wins(recording: tuple[torch.Tensor, ...]) -> None:
    mixture, clean, found = recording
    around = torch.nn.functional.max_pool1d((found.abs() > 0.02).float(), 513, 1, 256)
    best = total(clean, mixture)
    cheats = {
        "identity": mixture, "silence": torch.zeros_like(mixture), "half": 0.5 * mixture, "louder": 2 * mixture,
        "low-pass 1/8": low_pass(mixture, 1 / 8), "low-pass 1/4": low_pass(mixture, 1 / 4),
        "low-pass 1/2": low_pass(mixture, 1 / 2), "muted at the clicks": mixture * (1 - around),
        "clean, low-passed": low_pass(clean, 1 / 4),
    }  # fmt: skip
    found_values = {name: total(cheat, mixture) for name, cheat in cheats.items()}
    assert all(best < 0.6 * value for value in found_values.values()), (best, found_values)
    for name in set(cheats) - {"identity"}:  # not even a way down from doing nothing
        assert found_values[name] > found_values["identity"], (name, found_values)


def test_terms(recording: tuple[torch.Tensor, ...]) -> None:
    mixture, clean, found = recording
    same = consistency.parts(mixture, mixture)
    assert 0.3 < float(same["impulses"]) <= 1  # the more, the more impulses there are
    assert float(same["envelope"]) == 0 and float(same["energy"]) < 0.1
    repaired = consistency.parts(mixture - found, mixture)
    assert float(repaired["impulses"]) < float(same["impulses"])
    assert float(repaired["envelope"]) < 0.1 and float(repaired["energy"]) < 0.1  # hiss that stays costs nothing
    less_hiss = consistency.parts(clean + 0.3 * (mixture - clean - found), mixture)
    assert float(less_hiss["envelope"]) < 0.2 and float(less_hiss["energy"]) < 0.1  # nor does hiss that goes


def test_a_fader_removes_no_impulse(recording: tuple[torch.Tensor, ...]) -> None:
    """A click is one by what stands around it, not by its own level; taking half of it away is half of the way."""
    mixture, clean, found = recording
    same = float(consistency.parts(mixture, mixture)["impulses"])
    for gain in (0.3, 0.5, 0.8):  # the always assumed hiss is not scaled with it: not equal to the last digit
        assert float(consistency.parts(gain * mixture, mixture)["impulses"]) == pytest.approx(same, rel=0.2)
    half = float(consistency.parts(mixture - 0.5 * found, mixture)["impulses"])
    assert 0.25 * same < half < 0.95 * same
    hissless = clean + found  # what was below the hiss does not become a click when the hiss goes
    assert float(consistency.parts(clean, mixture)["impulses"]) < 0.2 * float(
        consistency.parts(hissless, mixture)["impulses"]
    )


def test_neither_level_nor_neighbours_matter(recording: tuple[torch.Tensor, ...]) -> None:
    mixture, clean, _ = recording
    both = consistency.parts(torch.cat([clean, 0 * mixture]), torch.cat([mixture, mixture]))
    alone = consistency.parts(clean, mixture)
    for name, value in alone.items():
        assert float(both[name][0]) == pytest.approx(float(value), abs=1e-4)


def test_descent_removes_clicks_and_keeps_the_voice(recording: tuple[torch.Tensor, ...]) -> None:
    """A time-domain gain near the clicks is free to move; what it learns takes clicks away and leaves the rest."""
    mixture, clean, found = recording
    near = torch.nn.functional.max_pool1d((found.abs() > 0.02).float(), 65, 1, 32)
    gains = torch.zeros(LENGTH // 16 + 1, requires_grad=True)
    optimiser = torch.optim.Adam([gains], lr=0.2)
    for _ in range(25):
        mask = torch.sigmoid(3 - gains).repeat_interleave(16)[:LENGTH]
        loss = consistency.consistency(mask * mixture, mixture)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    learnt = torch.sigmoid(3 - gains).repeat_interleave(16)[:LENGTH].detach()
    assert total(learnt * mixture, mixture) < 0.6 * total(mixture, mixture)
    assert float(learnt[near[0, 0] == 0].mean()) > 0.9
    assert float(learnt[found[0, 0].abs() > 0.5].mean()) < 0.8


def test_a_voice_has_no_clicks() -> None:
    clean = torch.from_numpy(voice(4).astype(np.float32))[None, None]
    hissing = clean + 0.03 * torch.randn(1, 1, LENGTH, generator=torch.Generator().manual_seed(0))
    assert total(hissing, hissing) < 0.1


def test_stationary_music_may_not_be_silenced() -> None:
    time = torch.arange(LENGTH) / RATE
    music = sum(torch.sin(2 * np.pi * f * time + f) for f in (220.0, 277.0, 330.0, 1760.0))[None, None]
    music = music / music.square().mean().sqrt() + 0.01 * torch.randn(
        1, 1, LENGTH, generator=torch.Generator().manual_seed(0)
    )
    assert total(music, music) < 1.1 and total(0 * music, music) > 5


@pytest.mark.parametrize("silent", ["mixture", "estimate", "both"])
def test_silence_gives_finite_values_and_gradients(silent: str) -> None:
    generator = torch.Generator().manual_seed(0)
    mixture, estimate = (torch.randn(2, 1, 9000, generator=generator) for _ in range(2))
    mixture = mixture * (silent == "estimate")
    estimate = (estimate * (silent == "mixture")).requires_grad_()
    loss = consistency.consistency(estimate, mixture)
    loss.backward()
    assert bool(loss.isfinite()) and estimate.grad is not None and bool(estimate.grad.isfinite().all())
    assert float(consistency.consistency(estimate[:0], mixture[:0]).detach()) == 0


def test_contrastive_tells_origins_apart() -> None:
    origin = torch.tensor([0, 0, 0, 1, 1])
    apart = torch.eye(2)[origin]
    mixed = torch.eye(5)
    assert (
        float(contrastive(apart, origin))
        < float(contrastive(mixed, origin))
        < float(contrastive(apart, origin.flip(0)))
    )
    assert float(contrastive(apart, origin)) == pytest.approx((3 * np.log(2) + 0) / 5, abs=1e-3)  # one positive of two
    assert float(contrastive(3 * apart, origin)) == pytest.approx(float(contrastive(apart, origin)))
    start = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    for _ in range(300):
        (slope,) = torch.autograd.grad(contrastive(start, origin), start)
        start = (start - 2 * slope).detach().requires_grad_()
    unit = torch.nn.functional.normalize(start.detach(), dim=-1)
    assert float(unit[0] @ unit[1]) > float(unit[0] @ unit[3]) + 0.5


def test_contrastive_without_pairs_is_zero_with_a_gradient() -> None:
    embeddings = torch.randn(3, 4, requires_grad=True)
    for origin in ([0, 0, 0], [0, 1, 2]):
        (slope,) = torch.autograd.grad(contrastive(embeddings, torch.tensor(origin)), embeddings)
        assert float(slope.abs().max()) == 0
    assert float(contrastive(embeddings[:0], torch.zeros(0)).detach()) == 0


def test_remix_rewards_the_right_split() -> None:
    generator = torch.Generator().manual_seed(0)
    speech, noise = (torch.randn(3, 1, 4000, generator=generator) for _ in range(2))
    mixture, moved = remixed(speech, noise, 1)
    assert torch.equal(moved[1], noise[0]) and torch.allclose(mixture - moved, speech, atol=1e-6)
    assert float(remix(speech, mixture, speech, moved)) == 0
    same, nothing = (float(remix(x, mixture, speech, moved)) for x in (mixture, 0 * mixture))
    assert 1 < same <= 2 and 1 < nothing <= 2
    half = speech + 0.5 * moved  # less noise is better, and its scale counts: the noise is the rest of the mixture
    assert 0 < float(remix(half, mixture, speech, moved)) < same
    assert float(remix(0.5 * speech, mixture, speech, moved)) > 0.1
    assert float(remix(speech, speech, speech, 0 * speech)) == 0  # no noise to split off
