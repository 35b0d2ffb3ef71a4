"""The how-to for a new stage, done as written in a copy of the project: the stage runs, and nothing that it says can be left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.how_to import copy_of_the_project, edits, follow, python
from tests.tiny_models import write_tiny_mask_unet
from tests.workflow.conftest import Workspace

STAGE = "Add a stage"
RATE, TONES_HZ = 22_050, (40, 1000)


def level_db(path: Path, tone_hz: int) -> float:
    signal = sf.read(path)[0][RATE // 2 : -RATE // 2]  # whole periods of both tones
    return float(20 * np.log10(abs(np.exp(-2j * np.pi * tone_hz * np.arange(len(signal)) / RATE) @ signal)))


def test_the_stage_of_the_how_to_works(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    (tmp_path / "house").mkdir()
    workspace.house = copy_of_the_project(tmp_path / "house")
    assert len(follow(STAGE, workspace.house)) == 6
    assert "corner_hz: 80.0" in (workspace.house / "config/config.yaml").read_text()
    (workspace.folder / "batch/input").mkdir(parents=True)
    seconds = np.arange(2 * RATE) / RATE
    sf.write(
        workspace.folder / "batch/input/tones.wav", sum(0.2 * np.sin(2 * np.pi * hz * seconds) for hz in TONES_HZ), RATE
    )
    write_tiny_mask_unet(workspace.folder / "tiny_a.safetensors")
    entry = "models: {tiny_a: {kind: mask_network, source: tiny_a.safetensors, licence: MIT, task: separate, sample_rate: 22050}}"
    (workspace.folder / "models.yaml").write_text(entry)
    workspace.config |= {
        "shards": 1, "separators": [{"name": "a", "model": "tiny_a"}], "highpass": {"enabled": True},
        "denoise": {"enabled": False}, "postmask": {"enabled": False},
    }  # fmt: skip
    workspace.run("--cores", "1", "--", "artifacts/manifests/loudness/0.jsonl")
    (before,), (after,) = (workspace.rows(stage).values() for stage in ("fuse", "highpass"))
    lost = {
        hz: level_db(workspace.folder / before.path, hz) - level_db(workspace.folder / after.path, hz)
        for hz in TONES_HZ
    }
    assert lost[40] > 6 and abs(lost[1000]) < 0.5
    assert not workspace.computed("denoise") and not workspace.computed("postmask") and workspace.computed("loudness")


@pytest.mark.parametrize("skipped", range(len(edits(STAGE))))
def test_what_is_forgotten_ends_the_start_with_the_file(tmp_path: Path, skipped: int) -> None:
    house = copy_of_the_project(tmp_path)
    follow(STAGE, house, skipped)
    program = "from audiorestorer.__main__ import command_names; from audiorestorer.chain import check_chain\n"
    done = python(house, "-c", program + "check_chain(command_names())")
    file = edits(STAGE)[skipped][0].replace("commands/render.py", "commands")
    assert done.returncode == 1 and file in done.stderr, done.stderr[-1500:]
