"""declip: what a limit cut off is made anew, what is not clipped stays bit by bit, and the separators hear the mended recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import DeclickSettings, DeclipSettings
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.stages import declick, declip
from audiorestorer.stages.job import Job
from tests.dsp.test_repairs import spoken, voice
from tests.stages.test_clean_chain import RATE, item, quality


def clipped(clean: Audio, share: float = 0.2) -> Audio:
    limit = share * np.abs(clean).max()
    return np.clip(clean, -limit, limit)


def declipped(folder: Path, *rows: Item) -> list[Item]:
    write_manifest(folder / "in.jsonl", rows)
    declip.run(folder / "in.jsonl", folder / "out.jsonl", DeclipSettings(enabled=True), Job(folder / "store"))
    return read_manifest(folder / "out.jsonl")


def given(folder: Path, name: str, noisy: Audio) -> Item:
    return item(folder, name, noisy=noisy, path=noisy).updated(path=str(folder / f"{name}.noisy.wav"))


def entries(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "store/declip").rglob("*.json")}


@pytest.mark.parametrize(("share", "gain_db"), [(0.2, 6.0), (0.4, 9.0)])
def test_a_clipped_voice_gains_and_the_row_says_how_much_was_clipped(
    tmp_path: Path, share: float, gain_db: float
) -> None:
    clean = spoken(RATE)[None]
    noisy = clipped(clean, share)
    row = given(tmp_path, "a", noisy)
    (done,) = declipped(tmp_path, row)
    mended, rate = audio.read(done.path)
    assert rate == RATE and mended.shape == clean.shape
    assert quality(mended, clean) > quality(noisy, clean) + gain_db
    is_cut = np.abs(noisy) >= 0.9999 * np.abs(noisy).max()
    assert (mended[~is_cut] == noisy[~is_cut]).all()
    count = int(np.count_nonzero(mended != noisy))
    assert 0.95 * is_cut.sum() < count <= is_cut.sum()
    assert done.notes == {
        "clipping": f"{count} samples ({count / clean.size:.2%}) were clipped and made anew before the speech was separated"
    }
    assert done.noisy == row.noisy and done.given == done.mixture == done.path, "figures are still the recording's own"


def test_a_clipped_tone_becomes_a_tone_again(tmp_path: Path) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 220 * np.arange(2 * RATE) / RATE)).astype(np.float32)[None]
    (done,) = declipped(tmp_path, given(tmp_path, "tone", clipped(tone, 0.6)))
    mended, _ = audio.read(done.path)
    assert quality(mended, tone) > quality(clipped(tone, 0.6), tone) + 10


def test_what_is_not_clipped_goes_on_as_the_same_file(tmp_path: Path) -> None:
    square = 0.5 * np.sign(np.sin(2 * np.pi * 441 * (np.arange(RATE) + 0.5) / 44_100))
    signals = {"voice": voice(), "silence": np.zeros(RATE), "square": square}
    rows = [given(tmp_path, name, signal[None].astype(np.float32)) for name, signal in signals.items()]
    bytes_before = [Path(row.noisy).read_bytes() for row in rows]
    done = {row.id: row for row in declipped(tmp_path, *rows)}
    assert done == {row.id: row for row in rows}, "no file, no note"
    assert [Path(row.noisy).read_bytes() for row in rows] == bytes_before
    assert not list((tmp_path / "store").rglob("*.wav"))


def test_nothing_is_computed_twice_and_what_was_killed_goes_on(tmp_path: Path) -> None:
    clean = spoken(RATE)[None]
    rows = [given(tmp_path, "a", clipped(clean)), given(tmp_path, "b", clean)]
    (first,) = declipped(tmp_path, rows[0])
    kept = entries(tmp_path)
    whole = declipped(tmp_path, *rows)
    assert len(kept) == 1 and kept.items() < entries(tmp_path).items() and len(entries(tmp_path)) == 2
    assert whole[0] == first and whole[1] == rows[1]
    again = entries(tmp_path)
    assert declipped(tmp_path, *rows) == whole and entries(tmp_path) == again
    mended = Path(str(first.path)).read_bytes()
    Path(str(first.path)).unlink()
    (anew,) = declipped(tmp_path, rows[0])
    assert Path(str(anew.path)).read_bytes() == mended


def test_clipping_is_mended_before_clicks_are_looked_for(tmp_path: Path) -> None:
    clean = spoken(RATE)[None]
    noisy = clipped(clean)
    (mended,) = declipped(tmp_path, given(tmp_path, "a", noisy))
    write_manifest(tmp_path / "mended.jsonl", [mended])
    declick.run(
        tmp_path / "mended.jsonl", tmp_path / "both.jsonl", DeclickSettings(enabled=True), Job(tmp_path / "store")
    )
    (both,) = read_manifest(tmp_path / "both.jsonl")
    out, _ = audio.read(both.path)
    assert quality(out, clean) > quality(noisy, clean) + 5 and both.notes == mended.notes
