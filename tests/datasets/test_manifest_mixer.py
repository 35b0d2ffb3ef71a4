"""Mixing from manifests: the SNR asked for, the same examples whatever the workers, files read a segment at a time."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from torch.utils.data import DataLoader

from audiorestorer.datasets import generated
from audiorestorer.datasets.levels import snr_db
from audiorestorer.datasets.manifest_mixer import ManifestBank, ManifestMixer
from audiorestorer.datasets.mixtures import MixtureDataset, MixtureSettings
from audiorestorer.datasets.training_manifest import check_manifest, check_noise_manifest
from audiorestorer.errors import AudioRestorerError

RATE = 16000
PLAIN = {"pure_speech": 0.0, "no_speech": 0.0, "band_limit": 0.0, "segment_sec": 1.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return generated.training_set(tmp_path_factory.mktemp("set"), sample_rate=RATE)


def bank(data: tuple[Path, Path], rate: int = RATE, rooms: Path | None = None) -> ManifestBank:
    return ManifestBank(
        check_manifest(data[0]), data[0].parent, rate, check_noise_manifest(data[1]), data[1].parent, rooms
    )


@pytest.mark.parametrize("changes", [{}, {"most_noises": 4, "second_source": 1.0}, {"reverb": 1.0}, {"equaliser": 1.0}])
def test_round_trip_of_the_snr(data: tuple[Path, Path], changes: dict[str, float]) -> None:
    mixer = ManifestMixer(bank(data), MixtureSettings(snr_db=(-5, 25), **PLAIN, **changes), "denoise", 1)
    for index in range(30):
        example = mixer.example(0, index)
        measured = snr_db(example.target, example.mixture - example.target, RATE)
        assert -5 <= example.snr_db <= 25 and abs(measured - example.snr_db) < 0.1


def test_batches_do_not_depend_on_workers_or_history(data: tuple[Path, Path]) -> None:
    mixer = ManifestMixer(bank(data), MixtureSettings(**PLAIN), "denoise", 7)
    once = list(DataLoader(MixtureDataset(mixer, 2, 8), 4, num_workers=0))
    again = list(DataLoader(MixtureDataset(mixer, 2, 8), 4, num_workers=2))
    for first, second in zip(once, again, strict=True):
        assert all(bool((a == b).all()) for a, b in zip(first, second, strict=True))
    other = ManifestMixer(bank(data), MixtureSettings(**PLAIN), "denoise", 8).example(2, 0)
    assert not np.array_equal(other.mixture, mixer.example(2, 0).mixture)


def test_curriculum_moves_the_range(data: tuple[Path, Path]) -> None:
    stages = [{"until": 0.3, "snr_db": [10, 20]}, {"until": 1.0, "snr_db": [-2, 5]}]
    settings = MixtureSettings.model_validate({**PLAIN, "curriculum": stages})
    mixer = ManifestMixer(bank(data), settings, "denoise", 1, epochs=10)
    early = [mixer.example(epoch, k).snr_db for epoch in (0, 1, 2) for k in range(5)]
    late = [mixer.example(epoch, k).snr_db for epoch in (3, 9) for k in range(5)]
    assert min(early) >= 10 and max(late) <= 5
    assert settings.snr_range(0.0) == (10, 20) and settings.snr_range(0.3) == settings.snr_range(1.0) == (-2, 5)
    for wrong in ([{"until": 0.5, "snr_db": [0, 1]}], [{"until": 1.0, "snr_db": [3, 1]}]):
        with pytest.raises(ValueError, match="until must rise|lowest, highest"):
            MixtureSettings.model_validate({"curriculum": wrong})


def test_noises_come_from_the_manifest(data: tuple[Path, Path], tmp_path: Path) -> None:
    """With a single noise of one tone and nothing else, what is added is that tone."""
    time = np.arange(4 * RATE) / RATE
    sf.write(tmp_path / "tone.wav", 0.1 * np.sin(2 * np.pi * 3000 * time), RATE)
    row = {"id": "t", "split": "train", "path": "tone.wav", "class": "other", "sr": RATE, "duration": 4.0}
    (tmp_path / "n.jsonl").write_text(json.dumps(row))
    files = ManifestBank(
        check_manifest(data[0]), data[0].parent, RATE, check_noise_manifest(tmp_path / "n.jsonl"), tmp_path
    )
    settings = MixtureSettings(**PLAIN, recorded_noise=1.0, second_source=0, equaliser=0, reverb=0, speed=0)
    example = ManifestMixer(files, settings, "denoise", 1).example(0, 0)
    spectrum = np.abs(np.fft.rfft((example.mixture - example.target) * np.hanning(RATE))) ** 2
    assert spectrum[2995:3006].sum() / spectrum.sum() > 0.99


def test_a_room_keeps_the_direct_path_in_place(data: tuple[Path, Path], tmp_path: Path) -> None:
    response = np.zeros(RATE // 4)
    response[100] = 0.8  # a file whose direct path comes late and weak
    sf.write(tmp_path / "room.wav", response, RATE)
    settings = MixtureSettings(**PLAIN, reverb=1.0, equaliser=0.0, speed=0.0)
    far = ManifestMixer(bank(data, rooms=tmp_path), settings, "denoise", 3).example(0, 1).target
    near = ManifestMixer(bank(data), settings.model_copy(update={"reverb": 0.0}), "denoise", 3).example(0, 1).target
    assert np.abs(np.corrcoef(far, near)[0, 1]) > 0.999  # an impulse is no room: nothing changed but perhaps the level
    with pytest.raises(AudioRestorerError, match="no impulse responses"):
        bank(data, rooms=data[0].parent.parent / "nothing")


def test_pairs_stay_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean, noise = 0.1 * rng.standard_normal(3 * RATE), 0.01 * rng.standard_normal(3 * RATE)
    sf.write(tmp_path / "c.wav", clean, RATE, subtype="FLOAT")
    sf.write(tmp_path / "n.wav", clean + noise, RATE, subtype="FLOAT")
    row = {"id": "p", "split": "train", "clean": "c.wav", "noisy": "n.wav", "sr": RATE, "duration": 3.0}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    files = ManifestBank(check_manifest(tmp_path / "m.jsonl", splits=("train",)), tmp_path, RATE)
    example = ManifestMixer(files, MixtureSettings(**PLAIN), "denoise", 1).example(0, 0)
    assert example.snr_db == pytest.approx(20, abs=0.3)
    scale = np.std(example.mixture - example.target) / 0.01
    assert np.std(example.target) / scale == pytest.approx(0.1, rel=0.05)


def test_another_rate_is_resampled_and_nan_is_named(data: tuple[Path, Path], tmp_path: Path) -> None:
    files = bank(data, rate=RATE // 2)
    clip = files.clips("speech", "train")[0]
    half = files.read(clip, 0, RATE // 2)
    whole, _ = sf.read(clip.path, frames=RATE)
    spectrum = np.abs(np.fft.rfft(whole))[: RATE // 8], np.abs(np.fft.rfft(half))[: RATE // 8] * 2
    assert np.corrcoef(*spectrum)[0, 1] > 0.999
    sf.write(clip.path.with_name("bad.wav"), np.full(RATE, np.nan), RATE, subtype="FLOAT")
    bad = type(clip)(clip.path.with_name("bad.wav"), RATE, RATE)
    with pytest.raises(AudioRestorerError, match=r"bad\.wav: holds NaN"):
        bank(data).read(bad)
