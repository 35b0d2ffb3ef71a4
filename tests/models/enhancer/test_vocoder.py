"""Location-variable convolution against a loop; alias level of the activation; lengths, seeds and noise of the vocoder."""

import math

import pytest
import torch
from torch import Tensor

from audiorestorer.models.enhancer import lvc as module
from audiorestorer.models.enhancer.alias_free import AliasFree, SnakeBeta, kaiser_sinc
from audiorestorer.models.enhancer.lvc import lvc
from audiorestorer.models.enhancer.settings import VocoderSettings
from audiorestorer.models.enhancer.univnet import UnivNet, fold_weight_norm

SMALL = VocoderSettings(channels=6, noise=5, strides=(5, 3, 2), dilations=(1, 3), predictor_hidden=4, alias_free=(1,))
PASSBAND_DB = 0.1


def by_loop(x: Tensor, kernels: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """The definition, sample by sample."""
    items, locations, outputs, _, taps = kernels.shape
    hop = x.shape[2] // locations
    out = torch.zeros(items, outputs, x.shape[2])
    for item in range(items):
        for time in range(x.shape[2]):
            value = bias[item, time // hop].clone()
            for tap in range(taps):
                source = time + (tap - taps // 2) * dilation
                if 0 <= source < x.shape[2]:
                    value += kernels[item, time // hop, :, :, tap] @ x[item, :, source]
            out[item, :, time] = value
    return out


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(
    ("hop", "locations", "taps", "dilation"), [(1, 5, 3, 1), (7, 4, 3, 1), (7, 4, 3, 27), (20, 3, 5, 9), (33, 2, 1, 1)]
)
def test_lvc_is_the_loop(
    hop: int, locations: int, taps: int, dilation: int, gradients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION_BYTES", 6 * 4 * taps * 4 * 2)  # two locations a portion
    generator = torch.Generator().manual_seed(hop)
    x = torch.randn(2, 4, hop * locations, generator=generator)
    kernels = torch.randn(2, locations, 6, 4, taps, generator=generator)
    bias = torch.randn(2, locations, 6, generator=generator)
    with torch.set_grad_enabled(gradients):
        found = lvc(x, kernels, bias, dilation)
    assert torch.allclose(found, by_loop(x, kernels, bias, dilation), atol=1e-5)


def test_what_is_done_to_each_portion_and_the_fast_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORTION_BYTES", 1)
    x, kernels, bias = torch.randn(2, 4, 60), torch.randn(2, 3, 6, 4, 3), torch.randn(2, 3, 6)
    frames, weight, shift = torch.randn(9, 12), torch.randn(40, 12), torch.randn(40)
    with torch.no_grad():
        found = module.lvc_made(
            x, 3, 72, 3, lambda item, a, b: (kernels[item, a:b], bias[item, a:b]), finish=lambda part: part[:, :2] * 2
        )
        assert torch.allclose(found, 2 * lvc(x, kernels, bias)[:, :2], atol=1e-5)
        assert torch.allclose(module.linear(frames, weight, shift), frames @ weight.T + shift, atol=1e-5)


@pytest.mark.parametrize("hop", [3, 20])
def test_lvc_gradients(hop: int) -> None:
    generator = torch.Generator().manual_seed(0)
    leaves = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((1, 2, 2 * hop), (1, 2, 2, 2, 3), (1, 2, 2))
    ]
    assert torch.autograd.gradcheck(lambda *values: lvc(*values, 1), leaves)


def level_db(signal: Tensor, frequency: float) -> float:
    """Level of a component at a frequency in cycles a sample, in the middle of `[T]`."""
    middle = signal[200:-200].double()
    window = torch.hann_window(len(middle), dtype=torch.float64)
    time = torch.arange(len(middle), dtype=torch.float64)
    value = (middle * window * torch.exp(torch.tensor(-2j * math.pi * frequency) * time)).sum() / window.sum()
    return 20 * math.log10(float(value.abs()) + 1e-12)


def alias_levels_db(frequency: float, taps: int) -> tuple[float, float]:
    """Level of the folded second harmonic of a tone, to the tone: through SnakeBeta alone, and through the alias-free one."""
    tone = 0.5 * torch.sin(2 * math.pi * frequency * torch.arange(4000))[None, None]
    folded = 1 - 2 * frequency  # of 2 f, above Nyquist
    with torch.no_grad():
        outs = (SnakeBeta(1)(tone)[0, 0], AliasFree(1, taps)(tone)[0, 0])
    plain, clean = (level_db(out, folded) - level_db(out, frequency) for out in outs)
    return plain, clean


@pytest.mark.parametrize(
    ("taps", "frequency", "limit_db"),
    [
        (12, 0.26, -19),
        (12, 0.34, -24),
        (12, 0.42, -16),
        (24, 0.3, -38),
        (24, 0.34, -59),
        (24, 0.42, -25),
        (48, 0.38, -67),
    ],
)
def test_alias_level(taps: int, frequency: float, limit_db: float) -> None:
    """The table in the module's docstring."""
    plain, clean = alias_levels_db(frequency, taps)
    print(f"alias of {taps} taps at f = {frequency}: plain {plain:.1f} dB, alias-free {clean:.1f} dB")
    assert plain == pytest.approx(-12.8, abs=0.1)
    assert clean < limit_db


def test_alias_free_is_the_activation_at_low_frequencies() -> None:
    time = torch.arange(3000)
    slow = 0.7 * torch.sin(2 * math.pi * 0.01 * time)[None, None]
    with torch.no_grad():
        wanted = SnakeBeta(1)(slow)
        for taps in (12, 16, 24, 32, 48):
            found = AliasFree(1, taps)(slow)
            assert (found - wanted)[..., 50:-50].abs().max() < 0.01  # no delay either


def test_channels_in_portions_are_the_same() -> None:
    torch.manual_seed(0)
    block = AliasFree(37)
    torch.nn.init.normal_(block.activation.log_alpha)
    x = torch.randn(2, 37, 50)
    whole = block(x).detach()
    with torch.no_grad():
        assert torch.allclose(block(x), whole, atol=1e-6)


def test_the_filter() -> None:
    taps = kaiser_sinc(12)
    assert torch.allclose(taps, taps.flip(0))
    assert float(taps.sum()) == pytest.approx(1)
    gain = torch.fft.rfft(taps.double(), 4096).abs()
    rate = torch.arange(len(gain)) / 4096
    assert 20 * math.log10(float(gain[rate > 0.4].max())) < -40
    assert abs(20 * math.log10(float(gain[rate < 0.1].min()))) < PASSBAND_DB


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_vocoder_lengths_seeds_and_batches(frames: int) -> None:
    torch.manual_seed(0)
    model = UnivNet(9, SMALL).eval()
    condition = torch.randn(2, 9, frames)
    with torch.no_grad():
        audio = model.synthesise(condition, [1, 2])
        assert audio.shape == (2, frames * 30) and audio.abs().max() <= 1
        assert torch.equal(audio, model.synthesise(condition, [1, 2]))
        assert torch.allclose(audio[1:], model.synthesise(condition[1:], [2]), atol=1e-6)
        assert not torch.allclose(audio, model.synthesise(condition, [3, 2]), atol=1e-4)


def test_folded_norms_and_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = UnivNet(9, SMALL).eval()
    condition, drawn = torch.randn(2, 9, 11), torch.randn(2, 5, 11)
    whole = model(condition, drawn).detach()
    monkeypatch.setattr(module, "PORTION_BYTES", 1)
    with torch.no_grad():
        assert torch.allclose(model(condition, drawn), whole, atol=1e-5)
        fold_weight_norm(model)
        assert torch.allclose(model(condition, drawn), whole, atol=1e-5)
    assert not any("parametrizations" in name for name in model.state_dict())


def test_the_vocoder_trains() -> None:
    torch.manual_seed(0)
    model = UnivNet(9, SMALL)
    model(torch.randn(2, 9, 6), torch.randn(2, 5, 6)).square().mean().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


def test_extreme_conditions_stay_finite() -> None:
    torch.manual_seed(0)
    model = UnivNet(9, SMALL).eval()
    with torch.no_grad():
        for gain in (0.0, 1e-6, 1e3, 1e6):
            assert model(gain * torch.randn(1, 9, 4), torch.randn(1, 5, 4)).isfinite().all()
