"""Sizes are the published ones; the denoiser, the autoencoder and the mel-spectrogram do what they say."""

import librosa
import numpy as np
import pytest
import torch
import torchaudio
from torch import nn

from audiorestorer.errors import AudioRestorerError
from audiorestorer.losses import adversarial
from audiorestorer.models.enhancer.denoiser import Denoiser
from audiorestorer.models.enhancer.discriminators import Discriminators
from audiorestorer.models.enhancer.enhancer import Enhancer
from audiorestorer.models.enhancer.irmae import Irmae
from audiorestorer.models.enhancer.mel import MelSpectrogram, Normaliser, slaney_filters
from audiorestorer.models.enhancer.settings import (
    SIZES,
    DenoiserSettings,
    DiscriminatorSettings,
    EnhancerSettings,
    FeatureSettings,
    IrmaeSettings,
    of_size,
)

PUBLISHED = {"denoiser": 10_617_235, "irmae": 102_251_808, "flow": 68_986_432, "vocoder": 174_291_810}
PILOT_BYTES = 12_000_000  # of all committed weights, float16
SMALL_DENOISER = DenoiserSettings(n_fft=128, hop_length=32, hidden=4, levels=2, middle=1)
SMALL_IRMAE = IrmaeSettings(hidden=16, latent=6, extra=4, blocks=1, groups=4)


def parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_reference_has_the_published_sizes() -> None:
    with torch.device("meta"):
        model, discriminators = Enhancer(of_size("reference")), Discriminators()
    assert {name: parameters(getattr(model, name)) for name in PUBLISHED} == PUBLISHED
    assert parameters(discriminators.periods) == 17_444_810
    assert parameters(discriminators.resolutions) == 280_902


def test_sizes_rise_and_the_pilot_is_small() -> None:
    with torch.device("meta"):
        counts = [parameters(Enhancer(of_size(size))) for size in SIZES]
        half = parameters(Enhancer(of_size("pilot", 22_050)))
    assert counts == sorted(counts)
    assert 2 * max(counts[0], half) < PILOT_BYTES
    assert of_size("pilot", 22_050).features.sample_rate == 22_050


def test_refuses_impossible_settings() -> None:
    with pytest.raises(AudioRestorerError, match="size 'huge'"):
        of_size("huge")
    with pytest.raises(AudioRestorerError, match="sample_rate 48000"):
        of_size("pilot", 48_000)
    with pytest.raises(ValueError, match="hop_length"):
        EnhancerSettings.model_validate({"features": {"hop_length": 400}})
    with pytest.raises(ValueError, match="groups"):
        IrmaeSettings(hidden=100)


@pytest.mark.parametrize(("rate", "n_fft", "n_mels"), [(44_100, 2048, 128), (22_050, 1024, 80), (8000, 512, 20)])
def test_mel_filters_are_slaneys(rate: int, n_fft: int, n_mels: int) -> None:
    ours = slaney_filters(rate, n_fft, n_mels)
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, htk=False, norm="slaney")
    assert np.abs(ours.numpy() - theirs).max() < 1e-6 * theirs.max()
    again = torchaudio.functional.melscale_fbanks(n_fft // 2 + 1, 0, rate / 2, n_mels, rate, "slaney", "slaney")
    assert (ours - again.T).abs().max() < 1e-4 * ours.max()


@pytest.mark.parametrize("length", [1, 419, 420, 421, 4200])
def test_mel_of_all_lengths(length: int) -> None:
    mel = MelSpectrogram(FeatureSettings())
    values = mel(torch.randn(2, length))
    assert values.shape == (2, 128, -(-length // 420)) and values.isfinite().all()
    assert mel(torch.zeros(1, length)).abs().max() < 1e-6  # silence is the floor: 0


def test_mel_against_librosa() -> None:
    settings = FeatureSettings()
    audio = 0.1 * torch.randn(1, 42_000, generator=torch.Generator().manual_seed(1))
    sharp = np.append(audio[0, :1], audio[0, 1:] - 0.97 * audio[0, :-1])
    theirs = librosa.feature.melspectrogram(
        y=sharp, sr=44_100, n_fft=2048, hop_length=420, power=1, n_mels=128, pad_mode="constant"
    )[:, :-1]
    wanted = (20 * np.log10(np.maximum(theirs, 1e-4)) + 80) / 95
    assert np.abs(MelSpectrogram(settings)(audio)[0].numpy() - wanted).max() < 1e-4


def test_mel_has_a_gradient_in_silence() -> None:
    audio = torch.zeros(1, 2000, requires_grad=True)
    MelSpectrogram(FeatureSettings())(audio).sum().backward()
    assert audio.grad is not None and audio.grad.isfinite().all()


def test_normaliser_learns_only_by_update() -> None:
    normaliser = Normaliser()
    x = 0.7 + 0.2 * torch.randn(4, 80, 500)
    normaliser.update(x)
    y = normaliser(x)
    assert abs(y.mean()) < 1e-3 and abs(y.std() - 1) < 1e-3
    assert torch.allclose(normaliser.inverse(y), x, atol=1e-5)
    before = normaliser.mean.clone()
    normaliser.train()(x + 5)
    normaliser.update(torch.full((2, 2), float("nan")))
    assert normaliser.mean == before
    normaliser.update(x + 1)
    assert abs(normaliser.mean - before - 0.01) < 1e-3  # momentum


@pytest.mark.parametrize("length", [1, 31, 32, 33, 1000])
def test_denoiser_keeps_the_length(length: int) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        out = Denoiser(SMALL_DENOISER)(torch.randn(2, length))
    assert out.shape == (2, length) and out.isfinite().all()


def test_denoiser_reconstructs_and_never_amplifies() -> None:
    torch.manual_seed(0)
    model = Denoiser(SMALL_DENOISER)
    last = model.head[-1]
    nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([40.0, 40.0, 0.0])  # magnitude 1, no rotation
    audio = torch.randn(2, 1500)
    with torch.no_grad():
        assert torch.allclose(model(audio), audio, atol=1e-4)
        last.bias.data = torch.tensor([40.0, -40.0, 0.0])  # half a turn
        assert torch.allclose(model(audio), -audio, atol=1e-4)
        last.bias.data = torch.tensor([0.0, 0.0, 40.0])  # half the magnitude, a quarter of a turn
        spectrum = model.spectrum(model(audio))
        assert spectrum.abs().max() <= model.spectrum(audio).abs().max()


@pytest.mark.parametrize("gain", [1e-4, 1e4])
def test_denoiser_follows_the_level_that_it_is_told(gain: float) -> None:
    torch.manual_seed(0)
    model, audio = Denoiser(SMALL_DENOISER).eval(), torch.randn(1, 2000)
    level = torch.full((1, 1), 0.5)
    with torch.no_grad():
        assert torch.allclose(model(gain * audio) / gain, model(audio), atol=1e-5)
        # a window in the middle of a longer recording, beside the ends of what the network sees
        long = model(gain * audio, gain * level)[:, 640:1344] / gain
        short = model(audio, level)[:, 640:1344]
    assert torch.allclose(long, short, atol=1e-5)


def test_irmae_merged_is_equal() -> None:
    torch.manual_seed(0)
    model = Irmae(20, SMALL_IRMAE).eval()
    merged = model.merged()
    mel = torch.randn(2, 20, 37)
    with torch.no_grad():
        assert torch.allclose(model.encode(mel), merged.encode(mel), atol=1e-6)
        for ours, theirs in zip(model(mel), merged(mel), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)
    assert len(merged.linears) == 1 and len(model.linears) == 4
    assert parameters(model) - parameters(merged) == 3 * 6 * 6
    assert model(mel)[0].shape == (2, 24, 37) and model(mel)[1].shape == (2, 20, 37)


def test_the_linear_layers_lower_the_rank() -> None:
    """What they are for: trained alike on data of rank 3, the code of four layers needs fewer dimensions than that of one."""

    def singular_values(linears: int) -> torch.Tensor:
        torch.manual_seed(0)
        layers = nn.Sequential(*(nn.Linear(12, 12, bias=False) for _ in range(linears)))
        decoder = nn.Linear(12, 12)
        data = torch.randn(256, 3) @ torch.randn(3, 12)
        optimiser = torch.optim.Adam([*layers.parameters(), *decoder.parameters()], 3e-3)
        for _ in range(500):
            optimiser.zero_grad()
            (decoder(layers(data)) - data).square().mean().backward()
            optimiser.step()
        product = torch.eye(12)
        for layer in layers:
            product = layer.weight.detach() @ product
        return torch.linalg.svdvals(product)

    def tail(values: torch.Tensor) -> float:
        return float(values[3:].square().sum() / values.square().sum())

    assert tail(singular_values(4)) < 0.3 * tail(singular_values(1))


def test_discriminators_and_their_losses() -> None:
    torch.manual_seed(0)
    model = Discriminators(DiscriminatorSettings(period_channels=(4, 8), resolution_channels=4))
    for length in (1, 999, 3000):
        audio = torch.randn(2, length)
        assert all(scores.shape[0] == 2 and scores.isfinite().all() for scores in model(audio))
    made = (0.1 * torch.randn(2, 3000)).requires_grad_()
    loss = adversarial.discriminator(model(audio), model(made.detach()))
    assert abs(float(loss.detach()) - 2) < 0.5  # undecided
    adversarial.generator(model(made)).backward()
    assert made.grad is not None and made.grad.abs().max() > 0 and made.grad.isfinite().all()
    sure = [torch.full((2, 3), 5.0)]
    assert float(adversarial.discriminator(sure, [-sure[0]])) == 0
    assert float(adversarial.generator(sure)) == -5
    model(torch.zeros(1, 2000, requires_grad=True))[-1].sum().backward()


def test_settings_survive_json() -> None:
    """As a checkpoint's header holds them."""
    for size in SIZES:
        settings = of_size(size)
        assert EnhancerSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_the_denoiser_learns_to_remove_noise() -> None:
    """A few steps on tones in noise: unseen tones come out with less noise, at the scale of the mixture."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Denoiser(SMALL_DENOISER)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)

    def pair() -> tuple[torch.Tensor, torch.Tensor]:
        pitch = 0.05 + 0.2 * torch.rand(4, 1, generator=generator)
        clean = 0.3 * torch.sin(2 * torch.pi * pitch * torch.arange(512))
        return clean + 0.2 * torch.randn(4, 512, generator=generator), clean

    for _ in range(30):
        noisy, clean = pair()
        optimiser.zero_grad()
        (model(noisy) - clean).abs().mean().backward()
        optimiser.step()
    noisy, clean = pair()
    with torch.no_grad():
        error = (model(noisy) - clean).square().mean()
    assert 10 * torch.log10((noisy - clean).square().mean() / error) > 6  # dB
