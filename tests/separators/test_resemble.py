"""Resemble Enhance's released layout: read whole or refused by name, its figures, its chunks, and the enhancer's promises on top.

The figures are those of the original's classes on the same weights, audio and noise (`scripts/release/compare_resemble.py`, which runs
them where their source is at hand, has the whole comparison).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from audiorestorer.config import EnhanceSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import conversion, registry
from audiorestorer.models.enhancer import resemble
from audiorestorer.models.released import ResembleSettings, settings_of
from audiorestorer.separators import ModelFiles
from audiorestorer.separators.resemble_enhancer import CHUNK_SEC, OVERLAP_SEC, Joined, ResembleEnhancer, shift
from audiorestorer.separators.runtime.streaming import Recording
from audiorestorer.stages import enhance
from audiorestorer.stages.job import Job
from scripts.release.compare_resemble import speechlike
from tests.released_resemble import shapes, state

RATE, CHANNELS = 44_100, 8
NETWORK = {"layout": "resemble", "univnet_nc": CHANNELS}
SETTINGS = EnhanceSettings(regenerate_all=True, nfe=4, lambd=0.7, tau=0.5)
# every 5000th sample of the original's output, from 5000 on
DENOISED = [0.0049041, 0.0157766, -0.0036047, 0.0261826, 0.0129843, 0.0003661, 0.0084265, 0.0116738]
ENHANCED = [0.0050356, 0.0050747, 0.0063545, 0.0046753, 0.0044946, 0.0045372, 0.0064933, 0.0050001]
HPARAMS = """
fg_dir: !!python/object/apply:pathlib.PosixPath [data, fg]
lcfm_z_scale: 6
lcfm_training_mode: cfm
cfm_solver_method: midpoint
univnet_nc: 8
mix_alpha_range: !!python/tuple [0.2, 0.8]
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as DeepSpeed saves it."""
    path = tmp_path_factory.mktemp("released") / "mp_rank_00_model_states.pt"
    torch.save({"module": state(CHANNELS), "ds_config": None, "global_steps": 3}, path)
    return path


def model_of(path: Path, *more: Path, network: dict[str, Any] | None = None) -> ModelFiles:
    return ModelFiles(
        "resemble", "enhancer", "none", [path, *more], {str(path): "0" * 64}, "digest", RATE, False, network or NETWORK
    )


@pytest.fixture(scope="module")
def enhancer(released: Path) -> ResembleEnhancer:
    return ResembleEnhancer.of_model(model_of(released), SETTINGS, "cpu", 2)


def in_turn(seed: int) -> Callable[..., Tensor]:
    """One generator's noise for every call: the order in which the original draws."""
    generator = torch.Generator().manual_seed(seed)

    def draw(kind: str, seed: int, channels: int, frames: int, first: int, like: Tensor) -> Tensor:
        return torch.empty(len(like), channels, frames).normal_(generator=generator)

    return draw


@pytest.mark.slow
def test_the_originals_figures(enhancer: ResembleEnhancer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhancer, "draw", in_turn(7))
    out = enhancer(speechlike(RATE, 1), RATE)
    assert out.enhanced is not None
    np.testing.assert_allclose(out.denoised[0, 5000:45_000:5000], DENOISED, atol=3e-7)
    np.testing.assert_allclose(out.enhanced[0, 5000:45_000:5000], ENHANCED, atol=3e-7)
    assert np.abs(out.enhanced).max() == pytest.approx(0.0073174, abs=3e-7)


@pytest.mark.slow
def test_on_top_of_it_seed_silence_shape_and_rate(enhancer: ResembleEnhancer) -> None:
    audio = np.stack([speechlike(RATE, 1), speechlike(RATE, 2) / 100])
    audio[:, 20_000:] = 0
    first, again = enhancer(audio, RATE, seed=3), enhancer(audio, RATE, seed=3)
    assert first.enhanced is not None and again.enhanced is not None
    assert np.array_equal(first.enhanced, again.enhanced) and first.enhanced.shape == audio.shape
    assert not first.enhanced[:, 25_000:].any()  # silence stays silence
    other = enhancer(audio[:1], RATE, seed=4)
    assert other.enhanced is not None and not np.array_equal(other.enhanced, first.enhanced[:1])
    alone = enhancer(audio[1:], RATE, seed=3)  # each channel by itself, at its own peak
    assert alone.enhanced is not None
    np.testing.assert_allclose(alone.enhanced, first.enhanced[1:], atol=1e-6)
    for rate, length in ((16_000, 3_000), (48_000, 20_000), (44_100, 9)):
        out = enhancer(speechlike(length, 1), rate)
        assert out.enhanced is not None and out.sample_rate == max(rate, RATE)
        assert out.enhanced.shape[1] == round(length * out.sample_rate / rate)


@pytest.mark.slow
def test_a_folder_through_the_registrys_record(released: Path, tmp_path: Path) -> None:
    """`enhance-folder --model NAME`: the record that `fetch` writes says the layout."""
    from audiorestorer import audio
    from audiorestorer.models import fetching

    (tmp_path / "models.yaml").write_text(
        f"models:\n  mine:\n    kind: enhancer\n    task: enhance\n    source: {released.parent}\n    licence: MIT\n"
        f"    files: [{{name: {released.name}}}]\n    network: {json.dumps(NETWORK)}\n"
    )
    fetching.fetch("mine", tmp_path / "models.yaml", tmp_path / "mine.json", tmp_path)
    audio.write(tmp_path / "in/a.wav", speechlike(RATE // 2, 1)[None], RATE)
    (tmp_path / "in/b.wav").write_bytes(b"no audio")
    settings = EnhanceSettings(regenerate_all=True, nfe=2, max_wer=None)
    rows = enhance.run_folder(
        tmp_path / "in",
        tmp_path / "out",
        ModelFiles.read(tmp_path / "mine.json"),
        settings,
        Job(tmp_path / "store", "cpu"),
    )
    assert [row.ok for row in rows] == [True, False] and rows[0].enhanced
    assert audio.probe(tmp_path / "out/a.wav").frames == RATE // 2


def test_every_name_of_the_file_is_ours_or_known_to_be_unused() -> None:
    """By shapes alone: nothing is allocated."""
    with torch.device("meta"):
        given = {name: torch.empty(shape) for name, shape in shapes(96).items()}
        wanted = resemble.Resemble(ResembleSettings()).state_dict()
        found = resemble.named(given)
    assert {name: value.shape for name, value in found.items()} == {name: value.shape for name, value in wanted.items()}
    used = sum(value.numel() for name, value in given.items() if not resemble.UNUSED.match(name))
    assert used == pytest.approx(356.4e6, rel=1e-3)  # times two bytes is the size of the released file, 713 MB
    assert sum(2 * value.numel() for value in given.values()) / 1e6 == pytest.approx(
        registry.load("config/models.yaml").get("resemble_enhance").files[1].size_mb, rel=1e-3
    )


def test_kernels_come_in_our_order() -> None:
    """Rows (layer, input, output, tap) there, (layer, output, input, tap) here."""
    rows = torch.arange(4 * 2 * 4 * 3).float()[:, None]  # two channels
    ours = resemble._reordered(rows).reshape(4, 4, 2, 3)
    theirs = rows.reshape(4, 2, 4, 3)
    assert all(torch.equal(ours[:, out, given], theirs[:, given, out]) for out in range(4) for given in range(2))


def test_the_way_of_the_flow() -> None:
    """Half of it lies in the first quarter of the steps."""
    with torch.device("meta"):
        network = resemble.Resemble(ResembleSettings())
    times = network.times(8, "midpoint")
    assert times.tolist() == pytest.approx([0, 0.5, 0.7718445, 0.9196434, 1], abs=1e-6) and len(times) == 5
    assert len(network.times(1, "euler")) == 2


def test_hparams_are_read_without_building_what_they_name(tmp_path: Path, released: Path) -> None:
    (tmp_path / "hparams.yaml").write_text(HPARAMS)
    found = settings_of("enhancer", {"layout": "resemble"}, [released, tmp_path / "hparams.yaml"], "model x")
    assert (found.lcfm_z_scale, found.univnet_nc) == (6, 8)
    (tmp_path / "hparams.yaml").write_text(HPARAMS.replace("cfm\n", "ae\n"))
    with pytest.raises(AudioRestorerError, match=r"hparams.yaml: lcfm_training_mode"):
        settings_of("enhancer", {"layout": "resemble"}, [released, tmp_path / "hparams.yaml"], "model x")


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    small = {"module": {"dummy": torch.zeros(1), "vocoder.conv_pre.bias": torch.zeros(8), "other": torch.zeros(1)}}
    torch.save(small, tmp_path / "m.pt")
    with pytest.raises(AudioRestorerError, match=r"m.pt: .*and \d+ more \(missing\); other \(not of this network\)"):
        resemble.load(tmp_path / "m.pt", ResembleSettings(univnet_nc=8))
    torch.save({**small, "client_state": Path("x")}, tmp_path / "pickle.pt")
    with pytest.raises(AudioRestorerError, match="not loaded.*models convert"):
        resemble.load(tmp_path / "pickle.pt", ResembleSettings(univnet_nc=8))
    assert "3 tensors" in conversion.convert(tmp_path / "pickle.pt", tmp_path / "m.safetensors")


def test_two_chunks_are_laid_where_they_fit() -> None:
    signal = torch.from_numpy(speechlike(3 * RATE, 5))
    steps = RATE // 200
    for delay in (0, 7 * steps, -5 * steps):
        assert shift(signal[RATE : 2 * RATE], signal[RATE - delay : 2 * RATE - delay], RATE) == -delay


@pytest.mark.parametrize("seconds", [1, 29, 29.5, 30, 31, 40, 58.5, 65])
def test_joined_chunks_of_a_signal_are_the_signal(seconds: float) -> None:
    """Also where the last but one chunk is not whole, which the original lays in a wrong place."""
    rate = 2_000
    signal = np.random.default_rng(1).standard_normal(round(seconds * rate)).astype(np.float32)
    length, step = CHUNK_SEC * rate, (CHUNK_SEC - OVERLAP_SEC) * rate
    joined, plain = Joined(rate, len(signal)), Joined(rate, len(signal), moves=False)
    out: dict[Joined, list[np.ndarray]] = {joined: [], plain: []}
    for start in range(0, len(signal), step):
        for each, parts in out.items():
            parts.append(each.add(signal[start : start + length], last=start + step >= len(signal)))
    for parts in out.values():
        np.testing.assert_allclose(np.concatenate(parts), signal, atol=1e-6)


def test_a_long_recording_comes_in_blocks(enhancer: ResembleEnhancer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow: a chunk at a time is asked for and given on."""

    class Through(torch.nn.Module):
        settings, denoiser = enhancer.network.settings, enhancer.denoiser

        def forward(self, audio: Tensor, *_: Any, **__: Any) -> resemble.Restored:
            return resemble.Restored(audio, audio)

    monkeypatch.setattr(enhancer, "network", Through())
    signal = speechlike(70 * RATE, 2)
    asked = 0

    def blocks() -> Any:
        nonlocal asked
        for start in range(0, len(signal), RATE):
            asked = start
            yield signal[None, start : start + RATE]

    out, behind = [], []
    for block in enhancer.stream(Recording(blocks, RATE, 1, len(signal))):
        out.append(block["enhanced"])
        behind.append(asked - sum(part.shape[1] for part in out))
    np.testing.assert_allclose(np.concatenate(out, axis=1)[0], signal, atol=1e-5)
    assert max(behind) <= 31 * RATE


@pytest.mark.parametrize("shape", [(), (1, 1, 1), (5, 1, 1)])
def test_a_weight_norm_whose_parts_do_not_fit_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """PyTorch does not check it, and writes beyond the tensors' ends."""
    given = {"vocoder.conv_pre.weight_g": torch.ones(shape), "vocoder.conv_pre.weight_v": torch.ones(8, 128, 7)}
    torch.save({"module": given}, tmp_path / "m.pt")
    with pytest.raises(AudioRestorerError, match=r"weight_g.*\(not of this network\)|missing"):
        resemble.load(tmp_path / "m.pt", ResembleSettings(univnet_nc=8))
