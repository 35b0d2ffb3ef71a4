"""The enhancer as a whole: length, silence, extremes, seeds, levels; its checkpoints."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import weights
from audiorestorer.models.enhancer.checkpoint import load_checkpoint, save_checkpoint
from audiorestorer.models.enhancer.enhancer import PARTS, Enhancer
from audiorestorer.models.enhancer.settings import EnhancerSettings, of_size

SMALL = EnhancerSettings.model_validate(
    {
        "features": {"sample_rate": 8000, "n_fft": 256, "hop_length": 60, "n_mels": 10},
        "denoiser": {"n_fft": 120, "hop_length": 60, "hidden": 4, "levels": 2, "middle": 1},
        "irmae": {"hidden": 16, "latent": 4, "extra": 2, "blocks": 1, "groups": 4},
        "flow": {"hidden": 8, "layers": 2, "frequencies": 4},
        "vocoder": {"channels": 4, "noise": 3, "strides": (5, 4, 3), "dilations": (1, 3), "predictor_hidden": 4, "alias_free": (1,),
                    "pad_frames": 3},
    }
)  # fmt: skip


@pytest.fixture
def model() -> Enhancer:
    torch.manual_seed(0)
    return Enhancer(SMALL).eval()


@pytest.mark.parametrize("length", [1, 59, 60, 61, 1000])
def test_keeps_the_length(model: Enhancer, length: int) -> None:
    out = model(0.1 * torch.randn(2, length), seeds=[1, 2], nfe=2)
    assert out.enhanced is not None
    for audio in (out.denoised, out.enhanced):
        assert audio.shape == (2, length) and audio.isfinite().all()
    assert model(torch.randn(1, length), seeds=[1], denoise_only=True).enhanced is None


@pytest.mark.parametrize("gain", [1e-30, 1e-6, 1e6, 1e30])
def test_extreme_levels(model: Enhancer, gain: float) -> None:
    audio = torch.randn(1, 900, generator=torch.Generator().manual_seed(0))
    out, plain = (model(g * audio, seeds=[1], nfe=2).enhanced for g in (gain, 1.0))
    assert out is not None and plain is not None and out.isfinite().all()
    if gain > 1e-8:  # a louder recording is restored to a louder one
        assert torch.allclose(out / gain, plain, atol=1e-3)
    else:
        assert out.abs().max() == 0


def test_silence_stays_silent_beside_speech(model: Enhancer) -> None:
    audio = torch.stack([torch.zeros(700), 0.1 * torch.randn(700)])
    out = model(audio, seeds=[1, 2], nfe=2)
    alone = model(audio[1:], seeds=[2], nfe=2)
    assert out.enhanced is not None and alone.enhanced is not None
    assert out.enhanced[0].abs().max() == 0 and out.denoised[0].abs().max() == 0
    assert torch.allclose(out.enhanced[1], alone.enhanced[0], atol=1e-5)


def test_the_same_bytes_by_the_same_seed(model: Enhancer) -> None:
    audio = 0.1 * torch.randn(2, 800)
    torch.manual_seed(1)
    first = model(audio, seeds=[4, 5], nfe=4).enhanced
    torch.manual_seed(2)  # the global generator has no say
    second, other = model(audio, seeds=[4, 5], nfe=4).enhanced, model(audio, seeds=[6, 5], nfe=4).enhanced
    assert first is not None and second is not None and other is not None
    assert torch.equal(first, second) and torch.equal(first[1], other[1]) and not torch.equal(first[0], other[0])


def test_windows_of_a_recording_are_treated_alike(model: Enhancer) -> None:
    """With the recording's level given, a loud passage elsewhere in the window changes nothing here (out of the networks' reach)."""
    audio = 0.1 * torch.randn(1, 12_000)
    loud = audio.clone()
    loud[:, 9000:] *= 20
    level = torch.full((1, 1), 0.1)
    with torch.inference_mode():
        code_a, code_b = (model.features(x / level * 0.1)[:, :, :60] for x in (audio, loud))
    assert torch.equal(code_a, code_b)


def test_refuses_impossible_values(model: Enhancer) -> None:
    audio = torch.randn(1, 100)
    for wrong, message in (
        ({"lambd": -0.1}, "lambd"),
        ({"seeds": []}, "0 seeds"),
        ({"solver": "x"}, "solver"),
        ({"audio": torch.zeros(1, 0)}, "T >= 1"),
        ({"audio": torch.zeros(5)}, r"\[B, T\]"),
    ):
        with pytest.raises(AudioRestorerError, match=message):
            model(**{"audio": audio, "seeds": [1], **wrong})


def test_prepared_gives_the_same(model: Enhancer) -> None:
    audio = 0.1 * torch.randn(2, 800)
    before = model(audio, seeds=[1, 2], nfe=4).enhanced
    after = model.prepare()(audio, seeds=[1, 2], nfe=4).enhanced
    assert before is not None and after is not None
    assert torch.allclose(before, after, atol=1e-5)


def test_bfloat16_is_near(model: Enhancer) -> None:
    audio = 0.1 * torch.randn(1, 1200)
    before = model(audio, seeds=[1], nfe=4)
    after = model.prepare("bfloat16")(audio, seeds=[1], nfe=4)
    assert before.enhanced is not None and after.enhanced is not None and after.enhanced.dtype == torch.float32
    assert (after.denoised - before.denoised).norm() < 0.05 * before.denoised.norm()
    assert (after.enhanced - before.enhanced).norm() < 0.3 * before.enhanced.norm()


def test_checkpoint_round_trip(model: Enhancer, tmp_path: Path) -> None:
    path, audio = tmp_path / "m.safetensors", 0.1 * torch.randn(1, 500)
    model.normaliser.update(0.7 + 0.2 * torch.randn(3, 10, 50))
    save_checkpoint(path, model, PARTS, {"steps": 3}, half=False)
    again, metadata = load_checkpoint(path)
    a, b = (m(audio, seeds=[1], nfe=2).enhanced for m in (model, again))
    assert a is not None and b is not None and torch.equal(a, b)
    assert metadata["parts"] == list(PARTS) and metadata["card"] == {"steps": 3} and metadata["sample_rate"] == 8000
    assert again.settings == SMALL and not again.training
    first = path.read_bytes()
    save_checkpoint(path, again, PARTS, {"steps": 3}, half=False)
    assert path.read_bytes() == first
    save_checkpoint(path, model, PARTS, {})
    assert path.stat().st_size < 0.75 * len(first)


def test_parts_are_put_together(model: Enhancer, tmp_path: Path) -> None:
    torch.manual_seed(9)
    other = Enhancer(SMALL)
    save_checkpoint(tmp_path / "a", model, ["denoiser"], {}, half=False)
    save_checkpoint(tmp_path / "b", other, ["irmae", "vocoder"], {}, half=False)
    both, metadata = load_checkpoint(tmp_path / "a", tmp_path / "b")
    assert metadata["parts"] == ["denoiser", "irmae", "vocoder"]
    state = both.state_dict()
    for source, prefix in ((model, "denoiser."), (other, "irmae."), (other, "vocoder.")):
        assert all(
            torch.equal(state[name], value) for name, value in source.state_dict().items() if name.startswith(prefix)
        )
    save_checkpoint(tmp_path / "c", Enhancer(SMALL.model_copy(update={"irmae": SMALL.irmae.model_copy(update={"extra": 1})})),
                    ["flow"], {})  # fmt: skip
    with pytest.raises(AudioRestorerError, match="another configuration"):
        load_checkpoint(tmp_path / "a", tmp_path / "c")
    with pytest.raises(AudioRestorerError, match="parts"):
        save_checkpoint(tmp_path / "d", model, ["brain"], {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "other"}, "architecture"),
        ({"format_version": "9"}, "format_version"),
        ({"config": "{"}, "config"),
        ({"config": json.dumps({"colour": 1})}, "colour"),
        ({"config": json.dumps(of_size("pilot").model_dump(mode="json"))}, "do not fit"),
        ({"parts": json.dumps(["flow", "brain"])}, "brain"),
        ({"parts": json.dumps(["flow"])}, "do not fit"),
    ],
)
def test_refuses_wrong_metadata(model: Enhancer, tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model, ["denoiser"], {})
    save_file(load_file(str(path)), str(path), metadata={**weights.read(path)[1], **change})
    with pytest.raises(AudioRestorerError, match=message) as raised:
        load_checkpoint(path)
    assert str(path) in str(raised.value)


def test_refuses_a_pickle(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(AudioRestorerError, match="safetensors"):
        load_checkpoint(tmp_path / "m.safetensors")
