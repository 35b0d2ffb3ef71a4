"""RoFormers and Bandit v2 in the form of their released files: equal to what others wrote, on random weights saved in that form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from pymss_core.modules.bandit.core.model.bsrnn.utils import MusicalBandsplitSpecification
from pymss_core.modules.bandit_v2.bandit import Bandit as TheirBandit
from pymss_core.modules.bs_roformer.bs_roformer import BSRoformer
from pymss_core.modules.bs_roformer.mel_band_roformer import MelBandRoformer
from torch import nn

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import bandit, registry, released, roformer
from audiorestorer.separators import ModelFiles, Options, load
from audiorestorer.separators.runtime.streaming import Recording, estimates

HOP = 441
SIZES = {"dim": 32, "depth": 2, "dim_head": 16, "heads": 4}
THEIRS = {
    **SIZES, "time_transformer_depth": 1, "freq_transformer_depth": 1, "stft_n_fft": 2048, "stft_hop_length": HOP,
    "stft_win_length": 2048, "mask_estimator_depth": 2, "zero_dc": True,
}  # fmt: skip
OF_BS = [*[2] * 24, *[4] * 12, *[12] * 8, *[24] * 8, *[48] * 8, 128, 129]  # bins of the released BS-RoFormers' bands
BANDS = {"mel": {"num_bands": 60}, "bs": {"freqs_per_bands": OF_BS}}
STEMS = ["vocals", "other", "drums"]
WITHIN = 1e-5
rng = np.random.default_rng(5)


def their_roformer(kind: str, stereo: bool, stems: int, **more: Any) -> nn.Module:
    """Random weights, with gains that are not one, so that a norm in the wrong place is seen."""
    torch.manual_seed(3)
    settings = {**THEIRS, "stereo": stereo, "num_stems": stems, **more}
    if kind == "mel":
        # their class counts the mask's layers as BS does, unless it is told the hidden ones
        network: nn.Module = MelBandRoformer(
            **settings, num_bands=60, sample_rate=44_100, mlp_hidden_layers=2, match_input_audio_length=True
        )
    else:
        network = BSRoformer(**settings, freqs_per_bands=tuple(OF_BS))
    for name, parameter in network.named_parameters():
        if "gamma" in name:
            parameter.data.uniform_(0.5, 1.5)
    return network.eval()


def model_of(path: Path, kind: str, network: dict[str, Any] | None, rate: int, *more: Path) -> ModelFiles:
    return ModelFiles("mine", kind, "none", [path, *more], {str(path): "0" * 64}, "digest", rate, False, network)


def saved(network: nn.Module, folder: Path) -> Path:
    torch.save(network.state_dict(), folder / "m.ckpt")
    return folder / "m.ckpt"


@pytest.mark.parametrize(
    ("kind", "stereo", "stems", "backend"),
    [
        *((kind, stereo, stems, "torch") for kind in ("mel", "bs") for stereo in (True, False) for stems in (1, 3)),
        ("mel", True, 1, "openvino"), ("bs", False, 2, "openvino"),
    ],
)  # fmt: skip
def test_a_roformer_equals_another_implementation(
    tmp_path: Path, kind: str, stereo: bool, stems: int, backend: Any
) -> None:
    theirs = their_roformer(kind, stereo, stems)
    audio = rng.standard_normal((2, 1 + stereo, 100 * HOP)).astype(np.float32) / 10
    with torch.inference_mode():
        wanted = theirs(torch.from_numpy(audio)).numpy()
    network = {**SIZES, **BANDS[kind], "stereo": stereo, "num_stems": stems, "stems": STEMS[:stems]}
    asked = ("vocals",) if stems == 1 else ("vocals", "accompaniment")
    ours = load(
        model_of(saved(theirs, tmp_path), "roformer", network, 44_100),
        Options(stems=asked, backend=backend, threads=2, cache=tmp_path / "compiled"),
    )
    got = ours.network(audio)
    speech = wanted if stems == 1 else wanted[:, 0]
    assert np.abs(speech).max() > 1e-3
    np.testing.assert_allclose(got["vocals"], speech, atol=WITHIN, rtol=0)
    if stems > 1:
        np.testing.assert_allclose(got["accompaniment"], wanted[:, 1:].sum(axis=1), atol=WITHIN, rtol=0)


def test_skip_connections_and_half_precision_files(tmp_path: Path) -> None:
    theirs = their_roformer("bs", True, 1, skip_connection=True)
    for tensor in theirs.state_dict().values():
        tensor.copy_(tensor.half())  # as a file of halves rounds it; the rotary frequencies too
    torch.save({name: value.half() for name, value in theirs.state_dict().items()}, tmp_path / "m.ckpt")
    audio = rng.standard_normal((1, 2, 60 * HOP)).astype(np.float32) / 10
    with torch.inference_mode():
        wanted = theirs(torch.from_numpy(audio)).numpy()
    network = {**SIZES, **BANDS["bs"], "skip_connection": True}
    ours = load(model_of(tmp_path / "m.ckpt", "roformer", network, 44_100), Options())
    np.testing.assert_allclose(ours.network(audio)["vocals"], wanted, atol=WITHIN, rtol=0)


# spec of the released files: names and numbers in them
@pytest.mark.parametrize(
    ("name", "tensors", "numbers"),
    [("mel_roformer_kim", 684, 228_203_172), ("bs_roformer_viperx", 699, 159_758_796)],
)
def test_the_released_files_have_the_registrys_sizes(name: str, tensors: int, numbers: int) -> None:
    entry = registry.load("config/models.yaml").get(name)
    settings = released.settings_of("roformer", entry.network, [], name)
    widths = list(roformer.layout(settings).widths)
    with torch.device("meta"):
        state = roformer.Roformer(settings, widths).state_dict()
    assert len(state) == tensors and sum(value.numel() for value in state.values()) == numbers
    # four bytes a number make the file, but for its names
    assert entry.files[0].size_mb == pytest.approx(4 * numbers / 1e6, abs=1)


def test_mel_bands_cover_each_bin_once_or_twice() -> None:
    """Widths that librosa's filters give, by the released configuration."""
    settings = released.RoformerSettings(dim=8, depth=1, num_bands=60)
    layout = roformer.layout(settings)
    widths = [width // 4 for width in layout.widths]
    assert widths[:8] == [7, 6, 6, 6, 6, 6, 6, 6] and widths[-3:] == [113, 122, 130] and sum(widths) == 1979
    counts = np.bincount(layout.places.numpy() % 1025)
    assert counts.min() == 2 and counts.max() == 4  # two channels


def test_masks_of_ones_give_the_mixture_back(tmp_path: Path) -> None:
    settings = released.RoformerSettings(dim=8, depth=1, num_bands=60)
    layout = roformer.layout(settings)
    spectrum = torch.randn(1, 2, 1025, 9, dtype=torch.complex64)
    ones = torch.tensor([1.0, 0.0]).repeat(len(layout.places)).expand(1, 1, 9, -1)
    torch.testing.assert_close(layout.masked(spectrum, ones)[:, 0], spectrum)
    assert layout.split(spectrum).shape == (1, 9, sum(layout.widths))


def their_bandit(channels: int, kind: str) -> nn.Module:
    torch.manual_seed(4)
    network = TheirBandit(
        in_channels=channels, stems=["speech", "music", "sfx"], fs=48_000, pad_mode="reflect", n_sqm_modules=2, emb_dim=32,
        rnn_dim=24, mlp_dim=40, rnn_type=kind,
    )  # fmt: skip
    # the authors' own transform: torchaudio divides by the window's energy, which their package's copy does not
    options = {"n_fft": 2048, "win_length": 2048, "hop_length": 512, "normalized": True, "pad_mode": "reflect"}
    network.stft = torchaudio.transforms.Spectrogram(**options, power=None)
    network.istft = torchaudio.transforms.InverseSpectrogram(**options)
    return network.eval()


@pytest.mark.parametrize(
    ("channels", "kind", "backend"),
    [(1, "GRU", "torch"), (2, "GRU", "torch"), (1, "LSTM", "torch"), (1, "GRU", "openvino")],
)
def test_bandit_equals_another_implementation(tmp_path: Path, channels: int, kind: str, backend: Any) -> None:
    theirs = their_bandit(channels, kind)
    state = {f"model.{name}": value for name, value in theirs.state_dict().items()}
    torch.save({"state_dict": {**state, "loss_handler.x": torch.ones(1)}, "epoch": 3}, tmp_path / "m.ckpt")
    audio = rng.standard_normal((2, channels, 48_000)).astype(np.float32) / 1000  # quiet: the norms' floors are seen
    with torch.inference_mode():
        spectrum = theirs.stft(torch.from_numpy(audio))
        features = theirs.tf_model(theirs.band_split(spectrum))
        wanted = [theirs.istft(spectrum * masks(features), 48_000).numpy() for masks in theirs.mask_estim.values()]
    network = {
        "in_channels": channels, "n_sqm_modules": 2, "emb_dim": 32, "rnn_dim": 24, "mlp_dim": 40, "rnn_type": kind,
    }  # fmt: skip
    ours = load(
        model_of(tmp_path / "m.ckpt", "bandit", network, 48_000),
        Options(stems=("vocals", "accompaniment"), backend=backend, threads=2, cache=tmp_path / "compiled"),
    )
    got = ours.network(audio)
    peak = np.abs(wanted[0]).max()
    np.testing.assert_allclose(got["vocals"] / peak, wanted[0] / peak, atol=WITHIN, rtol=0)
    np.testing.assert_allclose(got["accompaniment"] / peak, (wanted[1] + wanted[2]) / peak, atol=WITHIN, rtol=0)


@pytest.mark.parametrize(
    ("n_fft", "rate", "count"), [(2048, 48_000, 64), (1024, 16_000, 48), (4096, 48_000, 100), (2048, 8_000, 32)]
)
def test_musical_bands(n_fft: int, rate: int, count: int) -> None:
    theirs = MusicalBandsplitSpecification(nfft=n_fft, fs=rate, n_bands=count).get_band_specs()
    settings = released.BanditSettings(n_fft=n_fft, sample_rate=rate, n_bands=count)
    assert bandit.musical_bands(settings) == [tuple(band) for band in theirs]


def test_a_released_bandit_has_37_million_weights() -> None:
    """What its authors say of it, and three times of it (two are its optimiser's) make the file of 447 MB."""
    entry = registry.load("config/models.yaml").get("bandit_v2")
    settings = released.settings_of("bandit", entry.network, [], "bandit_v2")
    widths = list(bandit.layout(settings).widths)
    with torch.device("meta"):
        network = bandit.Bandit(settings, widths)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == pytest.approx(37e6, rel=0.01) and entry.files[0].size_mb == pytest.approx(
        3 * 4 * count / 1e6, rel=0.01
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_a_long_recording_has_no_seams_and_a_short_one_its_length(tmp_path: Path, channels: int) -> None:
    """A network of masks that are one everywhere gives the recording back, whatever its length and windows."""
    theirs = their_roformer("bs", True, 1)
    for name, parameter in theirs.named_parameters():
        if name.startswith("mask_estimators") and ".0.2." in name:
            parameter.data.zero_()
            if name.endswith("bias"):  # GLU: 1 x sigmoid(30) for the real parts, 0 for the imaginary ones
                half = len(parameter) // 2
                parameter.data[:half:2] = 1
                parameter.data[half:] = 30
    ours = load(
        model_of(
            saved(theirs, tmp_path), "roformer", {**SIZES, **BANDS["bs"], "zero_dc": False, "segment_sec": 2.0}, 44_100
        ),
        Options(),
    )
    for length in (1000, 44_100, 44_100 * 5 + 7):
        audio = rng.standard_normal((channels, length)).astype(np.float32) / 10
        recording = Recording(lambda audio=audio: iter([audio]), 44_100, channels, length)
        out = np.concatenate([block["vocals"] for block in estimates(ours, recording)], axis=1)
        np.testing.assert_allclose(out, audio, atol=2e-6)


def test_the_authors_yaml_serves_instead_of_the_registry(tmp_path: Path) -> None:
    theirs = their_roformer("mel", True, 1)
    text = """
audio: {chunk_size: 88200, sample_rate: 44100, num_channels: 2}
model:
  dim: 32
  depth: 2
  num_bands: 60
  dim_head: 16
  heads: 4
  stereo: true
  num_stems: 1
  time_transformer_depth: 1
  attn_dropout: 0.1
  multi_stft_resolutions_window_sizes: !!python/tuple
  - 4096
  - 2048
training: {instruments: [vocals, other], target_instrument: vocals, lr: 1.0e-05}
"""
    (tmp_path / "m.yaml").write_text(text)
    ours = load(model_of(saved(theirs, tmp_path), "roformer", None, 44_100, tmp_path / "m.yaml"), Options()).network
    assert (ours.segment_sec, ours.channels, ours.stems) == (2.0, 2, ("vocals",))
    (tmp_path / "m.yaml").write_text(
        text.replace("!!python/tuple\n  - 4096\n  - 2048", "!!python/object/apply:os.system ['touch x']")
    )
    load(
        model_of(tmp_path / "m.ckpt", "roformer", None, 44_100, tmp_path / "m.yaml"), Options()
    )  # read as a list, nothing is run
    assert not Path("x").exists()


WRONG = {
    "keys of the other kind": ({**SIZES, **BANDS["mel"]}, "not of this network|missing"),
    "another depth": ({**SIZES, **BANDS["bs"], "depth": 3}, r"layers\.2\.0.*and \d+ more \(missing\)"),
    "fewer layers": ({**SIZES, **BANDS["bs"], "depth": 1}, r"layers\.1\.0.*\(not of this network\)"),
    "another width": ({**SIZES, **BANDS["bs"], "dim_head": 8}, r"instead of .*\(of another shape\)"),
    "a key that is none": ({**SIZES, **BANDS["bs"], "dimm": 3}, "unknown key"),
    "no bands": (SIZES, "either num_bands"),
    "linear attention": ({**SIZES, **BANDS["bs"], "linear_transformer_depth": 1}, "linear_transformer_depth"),
    "bins that do not add up": ({**SIZES, "freqs_per_bands": [2, 4]}, "6 bins in all; allowed: 1025"),
    "names for another number of stems": ({**SIZES, **BANDS["bs"], "stems": ["a", "b"]}, "speech|num_stems"),
    "no settings": (None, "needs `network`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, case: str) -> None:
    network, message = WRONG[case]
    path = saved(their_roformer("bs", True, 1), tmp_path)
    with pytest.raises(AudioRestorerError, match=message):
        load(model_of(path, "roformer", network, 44_100), Options())


def test_a_rate_that_does_not_fit_a_half_file_a_pickle_and_weights_that_are_no_numbers(tmp_path: Path) -> None:
    network = {**SIZES, **BANDS["bs"]}
    theirs = their_roformer("bs", True, 1)
    path = saved(theirs, tmp_path)
    with pytest.raises(AudioRestorerError, match="registry says 48000 Hz, its network 44100 Hz"):
        load(model_of(path, "roformer", network, 48_000), Options())
    with pytest.raises(AudioRestorerError, match="no stem accompaniment"):
        load(model_of(path, "roformer", network, 44_100), Options(stems=("vocals", "accompaniment")))
    half = tmp_path / "half.ckpt"
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioRestorerError, match="half.ckpt: not loaded: it is damaged"):
        load(model_of(half, "roformer", network, 44_100), Options())
    torch.save({"state_dict": theirs.state_dict(), "hyper_parameters": Path("x")}, tmp_path / "pickle.ckpt")
    with pytest.raises(
        AudioRestorerError, match="pickle.ckpt: not loaded.*models convert .*pickle.ckpt pickle.safetensors"
    ):
        load(model_of(tmp_path / "pickle.ckpt", "roformer", network, 44_100), Options())
    state = theirs.state_dict()
    state["final_norm.gamma"] = state["final_norm.gamma"] * float("nan")
    torch.save(state, tmp_path / "nan.ckpt")
    with pytest.raises(AudioRestorerError, match="not finite: final_norm.gamma"):
        load(model_of(tmp_path / "nan.ckpt", "roformer", network, 44_100), Options())
