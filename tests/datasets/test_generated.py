"""Generated stems and noises: the mixture is the sum, a voice has harmonics, a siren glides."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets import generated
from audiorestorer.datasets.levels import snr_db
from audiorestorer.datasets.training_manifest import check_manifest, check_noise_manifest
from audiorestorer.errors import AudioRestorerError

RATE = 16000
SMALL = {"tracks": 4, "seconds": 2.0, "noises": 24, "sample_rate": RATE, "seed": 3}


def test_layout_sums_and_repeatability(tmp_path: Path) -> None:
    generated.make(tmp_path / "a", **SMALL)  # type: ignore[arg-type]
    generated.make(tmp_path / "b", **SMALL)  # type: ignore[arg-type]
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.wav"))
    assert len(files) == 4 * 5 + 24 + 2
    noisy, clean = (
        sf.read(next((tmp_path / "a/pairs" / part).iterdir()), dtype="float32")[0] for part in ("noisy", "clean")
    )
    assert abs(snr_db(clean, noisy - clean, RATE) - 5) < 0.1
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    for number, subset in ((0, "train"), (3, "test")):
        folder = tmp_path / "a/stems" / subset / f"track{number:02d}"
        stems = sum(sf.read(folder / f"{name}.wav")[0] for name in generated.STEMS)
        assert np.abs(stems - sf.read(folder / "mixture.wav")[0]).max() < 1e-6
    index = (tmp_path / "a/index.json").stat().st_mtime_ns
    generated.make(tmp_path / "a", **SMALL)  # type: ignore[arg-type]
    assert (tmp_path / "a/index.json").stat().st_mtime_ns == index  # kept


def test_a_folder_holds_one_set_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {**SMALL, "noises": 4}
    generated.make(tmp_path, **few)  # type: ignore[arg-type]
    with pytest.raises(AudioRestorerError, match=r"003-siren\.wav: not of the set"):
        generated.make(tmp_path, **{**few, "noises": 3})  # type: ignore[arg-type]
    with pytest.raises(AudioRestorerError, match=r"track0.*: not of the set"):
        generated.make(tmp_path, **{**few, "tracks": 8})  # type: ignore[arg-type]  # its track03 is no test track
    written = []

    def dying(path: Path, *args: Any) -> None:
        written.append(path)
        if len(written) > 6:
            raise KeyboardInterrupt
        write(path, *args)

    write = generated.audio.write
    monkeypatch.setattr(generated.audio, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        generated.make(tmp_path, **{**few, "seconds": 3.0})  # type: ignore[arg-type]
    monkeypatch.undo()
    generated.make(tmp_path, **few)  # type: ignore[arg-type]  # not taken for complete: every file is of this set again
    assert {sf.info(path).duration for path in (tmp_path / "stems").rglob("*.wav")} == {2.0}


def test_the_fault_is_there_and_can_be_left_out(tmp_path: Path) -> None:
    for name, faults in (("bad", True), ("good", False)):
        generated.make(tmp_path / name, **SMALL, faults=faults)  # type: ignore[arg-type]
        folder = tmp_path / name / "stems/train/track02"
        rest = sf.read(folder / "mixture.wav")[0] - sum(sf.read(folder / f"{stem}.wav")[0] for stem in generated.STEMS)
        assert (np.abs(rest).max() > 0.01) == faults


def test_a_voice_is_harmonic_and_a_siren_glides() -> None:
    voice = generated.voice(np.random.default_rng(1), 4 * RATE, RATE)
    loudest = int(np.convolve(voice**2, np.ones(1600), "valid").argmax())
    frame = voice[loudest : loudest + 1600] * np.hanning(1600)
    correlation = np.correlate(frame, frame, "full")[1599:]
    lags = slice(RATE // 500, RATE // 80)
    assert correlation[lags].max() > 0.5 * correlation[0]
    siren = next(
        signal for kind, signal in (generated.noise_of(1, number, RATE) for number in range(24)) if kind == "siren"
    )
    peaks = [
        np.abs(np.fft.rfft(siren[k : k + 2048] * np.hanning(2048))).argmax() * RATE / 2048
        for k in range(0, len(siren) - 2048, 2048)
    ]
    assert max(peaks) / min(peaks) > 2 and np.abs(np.diff(peaks)).max() < 400


def test_the_small_training_set_passes_the_check(tmp_path: Path) -> None:
    manifest, noise = generated.training_set(tmp_path, sample_rate=RATE)
    assert {row.split for row in check_manifest(manifest, sample_rate=RATE)} == {"train", "valid"}
    assert len({row.noise_class for row in check_noise_manifest(noise)}) == 7
