"""`--device` is honoured by every command that runs a network: what is not there is an error that says so, never another device."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from audiorestorer.manifest import Item, write_manifest
from audiorestorer.stages import restore
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests import tiny_models as tiny
from tests.faults.workbench import RATE, Workbench

COMMANDS = {
    "separate": ["in.jsonl", "out.jsonl", "--config", json.dumps({"name": "a", "model": "m"}), "--model", "m.json"],
    "denoise": ["in.jsonl", "out.jsonl", "--config", json.dumps({"model": "m"}), "--model", "m.json"],
    "restore": ["in", "restored", "--checkpoint", "m.safetensors"],
    "enhance-folder": ["in", "enhanced", "--checkpoint", "e.safetensors", "--no-gate", "--nfe", "2"],
    "infer-batch": ["--in", "in", "--out", "inferred", "--checkpoint", "m.safetensors"],
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    folder = tmp_path_factory.mktemp("device") / "w"
    (folder / "in").mkdir(parents=True)
    sf.write(folder / "in/x.wav", 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    tiny.write_tiny_mask_unet(folder / "m.safetensors", "denoise")
    tiny.write_tiny_enhancer(folder / "e.safetensors")
    tiny.write_model_json(folder / "m.json", "m", "mask_network", [folder / "m.safetensors"], sample_rate=RATE)
    digest = sha256_file(folder / "in/x.wav")
    row = Item(
        id="x", noisy="in/x.wav", path="in/x.wav", sha256=digest, noisy_sha256=digest, sr=RATE, channels=1, duration=1.0
    )
    write_manifest(folder / "in.jsonl", [row])
    yield Workbench(folder)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gpu_that_is_not_there_is_an_error(bench: Workbench, command: str) -> None:
    line = [command, *COMMANDS[command], "--device", "cuda:99"]
    line += [] if command == "infer-batch" else ["--store", "store"]
    ended = bench.run(commands=[line])
    assert ended.code == 2 and "Traceback" not in ended.text
    assert "device cuda:99: this machine has" in ended.message and "use `auto` or `cpu`" in ended.message
    left = [
        path for name in ("store", "restored", "enhanced", "inferred") for path in (bench.folder / name).rglob("*.wav")
    ]
    assert not left and not (bench.folder / "out.jsonl").exists()
    assert bench.run(commands=[[*line[: line.index("cuda:99")], "cpu", *line[line.index("cuda:99") + 1 :]]]).code == 0
    for name in ("store", "restored", "enhanced", "inferred"):
        shutil.rmtree(bench.folder / name, ignore_errors=True)
    (bench.folder / "out.jsonl").unlink(missing_ok=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("device", "uses_it"), [("cpu", False), ("cuda", True), ("cuda:0", True), ("auto", True)])
def test_a_gpu_is_used_where_it_was_asked_for_and_only_there(
    bench: Workbench, tmp_path: Path, device: str, uses_it: bool
) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    rows = restore.run(
        bench.folder / "in", tmp_path / "out", bench.folder / "m.safetensors", Job(tmp_path / "store", device)
    )
    assert [row.ok for row in rows] == [True]
    assert (torch.cuda.max_memory_allocated() > before) == uses_it
