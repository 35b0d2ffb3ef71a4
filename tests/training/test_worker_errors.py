"""What goes wrong in the process that makes examples is one message, as if it had gone wrong in the training itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.faults.kinds_training import EXPERIMENT
from tests.faults.workbench import Workbench

RATE = 8000
QUIET = {name: {**EXPERIMENT[name], "every_epochs": 0} for name in ("perceptual_eval", "audio_debug", "data_audit")}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_recording_that_is_damaged_inside_is_named(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    rows = []
    for number in range(6):
        path = folder / f"{number}.flac"
        sf.write(path, 0.1 * np.random.default_rng(number).standard_normal(4 * RATE), RATE)
        content = bytearray(path.read_bytes())
        content[len(content) // 8 :] = bytes(len(content) - len(content) // 8)  # its header is whole, its sound is not
        path.write_bytes(content)
        split = "valid" if number > 3 else "train"
        rows.append(
            {
                "id": str(number),
                "split": split,
                "clean": path.name,
                "noisy": None,
                "sr": RATE,
                "duration": 4.0,
                "finite": True,
            }
        )
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "e.json").write_text(json.dumps({**EXPERIMENT, **QUIET, "task": "denoise", "workers": workers}))
    command = ["train", "--config", "e.json", "--manifest", "m.jsonl", "--out", "m.safetensors", "--work", "runs"]
    ended = Workbench(folder).run(commands=[command])
    assert ended.code == 2 and "Traceback" not in ended.text, ended.text[-2000:]
    assert any(f"audiorestorer: {number}.flac: " in ended.text for number in range(4)), ended.text[-2000:]
