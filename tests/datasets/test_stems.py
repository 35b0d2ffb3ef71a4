"""The stem audit finds what is wrong with a track, and by how much."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets.stems import audit, clipped_samples, find_tracks
from audiorestorer.errors import AudioRestorerError
from audiorestorer.stages.training import audit_stems

RATE = 8000
NAMES = ("vocals", "drums", "bass", "other")


def write_track(folder: Path, *, seconds: float = 2.0, seed: int = 0, **changed: Any) -> dict[str, np.ndarray]:
    """A track whose mixture is its stems' sum; `changed` replaces files (None leaves one out)."""
    rng = np.random.default_rng(seed)
    stems = {name: 0.1 * rng.standard_normal((int(seconds * RATE), 2)).astype(np.float32) for name in NAMES}
    files: dict[str, Any] = {**stems, "mixture": sum(stems.values()), **changed}
    folder.mkdir(parents=True, exist_ok=True)
    for name, signal in files.items():
        if signal is not None:
            sf.write(folder / f"{name}.wav", signal, RATE, subtype="FLOAT")
    return stems


def only(root: Path, tol_db: float = -40) -> Any:
    (track,) = find_tracks(root)
    return audit(track, tol_db)


def test_an_exact_sum_passes(tmp_path: Path) -> None:
    write_track(tmp_path / "train" / "t")
    found = only(tmp_path)
    assert found.ok and found.residual_db < -90 and found.track.subset == "train" and found.duration_sec == 2.0


def test_the_residual_is_the_one_worked_out_by_hand(tmp_path: Path) -> None:
    stems = write_track(tmp_path / "t")
    changed = write_track(tmp_path / "t", vocals=1.01 * stems["vocals"])
    mixture = sum(changed.values())
    wanted = 10 * np.log10(np.sum((0.01 * stems["vocals"]) ** 2) / np.sum(mixture**2))  # about -46 dB
    assert only(tmp_path).residual_db == pytest.approx(wanted, abs=0.1)
    assert only(tmp_path).ok and not only(tmp_path, -50).ok


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"drums": None}, "do not sum"),
        ({"bass": np.zeros((RATE, 2))}, "frames: mixture.wav has 16000, but bass.wav 8000"),
        ({"bass": np.zeros(2 * RATE)}, "channels"),
        ({"bass": np.full((2 * RATE, 2), np.nan)}, "NaN or infinite samples: bass.wav"),
        ({"mixture": np.zeros((2 * RATE, 2))}, "mixture.wav is silent"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    write_track(tmp_path / "t", **changed)
    found = only(tmp_path)
    assert not found.ok and message in "; ".join(found.reasons)
    assert found.residual_db is not None or found.residual_missing


def test_a_good_channel_does_not_hide_a_bad_one(tmp_path: Path) -> None:
    """An instrument 38.5 dB below the mixture, missing on the left alone: 3 dB less over both channels, which would pass."""
    stems = write_track(tmp_path / "t")
    mixture = sum(stems.values())
    extra = np.zeros_like(mixture)
    tone = np.sin(2 * np.pi * 440 * np.arange(len(mixture)) / RATE)
    extra[:, 0] = tone * np.sqrt(np.mean(mixture[:, 0] ** 2) / np.mean(tone**2)) * 10 ** (-38.5 / 20)
    write_track(tmp_path / "t", mixture=mixture + extra)
    found = only(tmp_path)
    assert found.residual_db == pytest.approx(-38.5, abs=0.1)
    assert not found.ok and "-38.5 dB in the left channel" in found.reasons[0]


def test_a_channel_of_dither_is_not_judged_by_itself(tmp_path: Path) -> None:
    stems = write_track(tmp_path / "t")
    for stem in stems.values():
        stem[:, 1] = 0
    faint = 1e-5 * np.random.default_rng(1).standard_normal(len(stems["vocals"]))  # -80 dB below the other channel
    mixture = sum(stems.values())
    write_track(tmp_path / "t", **stems, mixture=mixture + np.stack([0 * faint, faint], 1).astype(np.float32))
    assert only(tmp_path).ok


def test_a_sample_more_is_a_note_and_a_second_more_a_reason(tmp_path: Path) -> None:
    stems = write_track(tmp_path / "t")
    write_track(tmp_path / "t", vocals=np.pad(stems["vocals"], ((0, 1), (0, 0))), bass=stems["bass"][:-1])
    found = only(tmp_path)
    assert found.ok and found.residual_db < -40
    assert "mixture.wav has 16000, but bass.wav 15999, vocals.wav 16001" in found.notes[0]
    write_track(tmp_path / "t", vocals=np.pad(stems["vocals"], ((0, RATE), (0, 0))))
    found = only(tmp_path)
    assert not found.ok and "vocals.wav 24000" in found.reasons[0] and not found.notes


def test_rate_and_truncation(tmp_path: Path) -> None:
    write_track(tmp_path / "a")
    sf.write(tmp_path / "a/bass.wav", np.zeros((2 * RATE, 2)), 2 * RATE)
    assert "sample_rate" in only(tmp_path).reasons[0]
    write_track(tmp_path / "a")
    content = (tmp_path / "a/bass.wav").read_bytes()
    (tmp_path / "a/bass.wav").write_bytes(content[:30])
    assert "bass.wav" in only(tmp_path).reasons[0]


def test_clipping_counts_runs_only() -> None:
    block = np.zeros((1, 100), np.float32)
    block[0, [3, 10, 11, 20, 21, 22, 23]] = 1.0
    assert clipped_samples(block) == 4


def test_moises_layout_has_no_residual(tmp_path: Path) -> None:
    for stem, name in (("vocals", "a1"), ("drums", "b1"), ("drums", "b2")):
        (tmp_path / "x" / stem).mkdir(parents=True, exist_ok=True)
        sf.write(tmp_path / "x" / stem / f"{name}.wav", 0.1 * np.ones((RATE, 2)), RATE)
    (tmp_path / "x/data.json").write_text("{}")
    found = only(tmp_path)
    assert found.track.layout == "moises" and len(found.track.stems["drums"]) == 2
    assert found.ok and found.residual_db is None and "no mixture" in found.residual_missing


def test_the_stage_writes_csv_totals_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_track(tmp_path / "m/train/good")
    write_track(tmp_path / "m/train/bad", drums=None)
    totals = audit_stems.run(tmp_path / "m", tmp_path / "audit.csv", figure=tmp_path / "audit.png")
    assert totals["tracks"] == 2 and totals["failed"] == 1
    assert json.loads((tmp_path / "audit.json").read_text()) == totals
    lines = (tmp_path / "audit.csv").read_text().splitlines()
    assert lines[1].startswith("bad,train,musdb18hq,") and ",failed," in lines[1] and ",ok," in lines[2]
    assert (tmp_path / "audit.png").read_bytes().startswith(b"\x89PNG")
    assert "failed: train/bad" in capsys.readouterr().out
    with pytest.raises(AudioRestorerError, match="MUSDB18-HQ"):
        audit_stems.run(tmp_path / "m/train/good", tmp_path / "no.csv")
