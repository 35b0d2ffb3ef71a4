"""declick: clicks go, the speech between them stays bit by bit, and the separators hear the repaired recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.config import DeclickSettings, PostmaskSettings
from audiorestorer.manifest import read_manifest, write_manifest
from audiorestorer.stages import declick, postmask
from audiorestorer.stages.job import Job
from tests.dsp.test_click_detection import clicked
from tests.stages.test_clean_chain import RATE, item, quality


def test_clicks_go_and_the_mixture_is_the_repaired_recording(tmp_path: Path) -> None:
    clean, noisy = (signal[:, : 4 * RATE] for signal in clicked(20.0, recordings=1)[:2])
    row = item(tmp_path, "a", noisy=noisy, clean=clean, path=noisy).updated(frames=clean.shape[1])
    write_manifest(tmp_path / "in.jsonl", [row])
    declick.run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", DeclickSettings(enabled=True), Job(tmp_path / "store"))
    (done,) = read_manifest(tmp_path / "out.jsonl")
    repaired, _ = audio.read(done.path)
    assert repaired.shape == noisy.shape and quality(repaired, clean) > quality(noisy, clean) + 8
    assert np.mean(repaired == noisy) > 0.8, "what is no click stays"
    assert done.noisy == row.noisy and done.given == done.mixture == done.path, "figures are still the recording's own"
    write_manifest(tmp_path / "same.jsonl", [done.updated(frames=clean.shape[1])])
    postmask.run(
        tmp_path / "same.jsonl", tmp_path / "masked.jsonl", PostmaskSettings(enabled=True), Job(tmp_path / "store")
    )
    masked, _ = audio.read(read_manifest(tmp_path / "masked.jsonl")[0].path)
    assert quality(masked, repaired) > 60, "nothing lies between the speech and the mixture that it came from"
