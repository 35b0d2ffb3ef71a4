"""denoise: the wet mix, the band above the denoiser's Nyquist, and no model at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiorestorer import audio
from audiorestorer.config import DenoiseSettings
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.separators import Loaded, Separator
from audiorestorer.stages import denoise
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests import tiny_models as tiny

RATE = 32_000


class Mute(Separator):
    """Removes everything that it hears, below 8 kHz."""

    sample_rate, channels, segment_sec = 16_000, 1, 1.0

    def __call__(self, audio):
        return {"vocals": np.zeros_like(audio)}


def tones(folder: Path) -> tuple[Item, np.ndarray]:
    time = np.arange(RATE) / RATE
    wave = np.stack([np.sin(2 * np.pi * hz * time) * 0.3 for hz in (1000, 12_000)]).sum(axis=0)[None].astype(np.float32)
    audio.write(folder / "v.wav", wave, RATE)
    return Item(id="v", noisy="x.wav", path=str(folder / "v.wav"), sha256=sha256_file(folder / "v.wav")), wave


@pytest.mark.parametrize(
    ("high_band", "low_gain", "high_gain"), [("keep", 0.25, 1.0), ("mask", 0.25, 1.0), ("drop", 0.25, 0.25)]
)
def test_wet_mix_and_high_band(tmp_path: Path, high_band, low_gain: float, high_gain: float) -> None:
    item, wave = tones(tmp_path)
    made = denoise.denoise_item(Loaded(Mute()), item, DenoiseSettings(wet=0.75, high_band=high_band), tmp_path)
    out, rate = audio.read(made.files["denoised.wav"])
    assert rate == RATE and out.shape == wave.shape and made.row == {"denoiser_nyquist_hz": 8000.0}
    middle = slice(RATE // 4, 3 * RATE // 4)  # half a second: 2 Hz a bin
    before, after = (np.abs(np.fft.rfft(x[0, middle])) for x in (wave, out))
    np.testing.assert_allclose(after[500] / before[500], low_gain, atol=5e-3)
    np.testing.assert_allclose(after[6000] / before[6000], high_gain, atol=5e-3)


def test_dry_is_the_input(tmp_path: Path) -> None:
    item, wave = tones(tmp_path)
    made = denoise.denoise_item(Loaded(Mute()), item, DenoiseSettings(wet=0.0), tmp_path)
    np.testing.assert_allclose(audio.read(made.files["denoised.wav"])[0], wave, atol=1e-6)


def test_rows(tmp_path: Path) -> None:
    item, _ = tones(tmp_path)
    write_manifest(tmp_path / "in.jsonl", [item])
    places = (tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    denoise.run(*places, DenoiseSettings(model=None), Job(tmp_path / "store"), None)
    assert read_manifest(places[1]) == [item]
    tiny.write_tiny_mask_unet(tmp_path / "w.safetensors", "denoise")
    model = tiny.write_model_json(tmp_path / "m.json", "tiny", "mask_network", [tmp_path / "w.safetensors"])
    denoise.run(*places, DenoiseSettings(model="tiny", high_band="keep"), Job(tmp_path / "store", "cpu"), model)
    (row,) = read_manifest(places[1])
    assert row.high_band == "keep" and row.denoiser_nyquist_hz == 11_025
    assert row.path != item.path and row.sha256 == sha256_file(row.path or "")
    assert audio.probe(row.path or "").frames == RATE
