"""Checkpoints that name more than tensors: their weights come out, and nothing that they name is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import conversion, torch_files


class Hostile:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_weights_come_out_and_nothing_is_run(tmp_path: Path) -> None:
    weights = {"a": torch.randn(3, 4), "b": torch.randn(5).half(), "tied": torch.zeros(2)}
    weights["again"] = weights["tied"]  # the same memory under two names
    mark = tmp_path / "mark"
    torch.save(
        {"state_dict": weights, "hyper_parameters": Hostile(mark), "path": Path("x"), "epoch": 3}, tmp_path / "m.ckpt"
    )
    with pytest.raises(AudioRestorerError, match="not loaded"):
        torch_files.read(tmp_path / "m.ckpt")
    line = conversion.convert(tmp_path / "m.ckpt", tmp_path / "m.safetensors")
    assert line.endswith("4 tensors") and not mark.exists()
    out = load_file(tmp_path / "m.safetensors")
    assert out.keys() == weights.keys() and all(torch.equal(out[name], weights[name]) for name in weights)
    assert torch_files.state_of(tmp_path / "m.safetensors").keys() == weights.keys()


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Hostile(mark)))
    # the format of before 1.6, whose reader would take a plain pickle
    torch.save({"a": torch.ones(2), "x": Hostile(mark)}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    torch.save({"settings": {"a": 1}}, tmp_path / "empty.ckpt")
    torch.save(Hostile(mark), tmp_path / "hostile.ckpt")
    for name, message in {
        "plain.ckpt": "not the archive", "old.ckpt": "not the archive", "empty.ckpt": "no tensors", "hostile.ckpt": "no weights",
        "absent.ckpt": "cannot be read",
    }.items():  # fmt: skip
        with pytest.raises(AudioRestorerError, match=f"{name}.*{message}"):
            conversion.convert(tmp_path / name, tmp_path / "out.safetensors")
    assert not mark.exists() and not (tmp_path / "out.safetensors").exists()
    with pytest.raises(AudioRestorerError, match="must end in .safetensors"):
        conversion.convert(tmp_path / "empty.ckpt", tmp_path / "out.pt")
