"""The training audio goes on where it was: what is there is neither read nor made again, and its row stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import soundfile as sf

from scripts.audio.make_training_audio import make


def test_a_file_that_is_there_needs_nothing_and_keeps_its_row(tmp_path: Path) -> None:
    recordings, out = tmp_path / "recordings", tmp_path / "out"
    folder = recordings / "usr/share/games/supertuxkart/data/sfx"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        sf.write(folder / f"{number}.wav", 0.3 * rng.standard_normal(22_050), 22_050)
    (out / "noise").mkdir(parents=True)
    job = ("sounds", 0, 1, str(out), str(recordings), "development", 22_050)
    row = make(job)
    path = out / str(row["path"])
    content, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert (
        row == {**row, "kind": "noise", "label": "supertuxkart-data:sounds", "split": "train"} and row["seconds"] >= 8
    )
    assert np.abs(sf.read(path)[0]).max() > 0.69
    shutil.rmtree(recordings)
    assert make(job) == row
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, stamp)
