"""Checkpoints that name more than tensors: their weights come out, and nothing that they name is run."""

from __future__ import annotations

import os
import pickle
import zipfile
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


class Scripted(torch.nn.Module):
    """TorchScript runs a module's `__setstate__` as it loads it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_a_program_and_a_stream_before_an_archive_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Scripted("x")), tmp_path / "program.ckpt")
    with (
        zipfile.ZipFile(tmp_path / "program.ckpt") as archive,
        zipfile.ZipFile(tmp_path / "stored.ckpt", "w") as stored,
    ):
        for name in archive.namelist():
            stored.writestr(name, archive.read(name))
    torch.save({"a": torch.ones(2)}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(tmp_path / "old.ckpt", "a") as appended:
        appended.writestr("x", b"y")
    for name, message in {
        "program.ckpt": "TorchScript",
        "stored.ckpt": "TorchScript",
        "old.ckpt": "not the archive",
    }.items():
        with pytest.raises(AudioRestorerError, match=f"{name}.*{message}"):
            conversion.convert(tmp_path / name, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


WRONG = {
    "sparse": torch.zeros(3, 3).to_sparse(), "complex": torch.zeros(2, dtype=torch.complex64),
    "bool": torch.zeros(2, dtype=torch.bool),
    "expanded": torch.zeros(1).expand(10**6, 10**6), "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_tensors_that_are_no_weights_are_named(tmp_path: Path, kind: str) -> None:
    torch.save({"odd": WRONG[kind], "fine": torch.ones(2)}, tmp_path / "m.ckpt")
    with pytest.raises(AudioRestorerError, match=r"m.ckpt.*odd|m.ckpt: not loaded"):
        torch_files.state_of(tmp_path / "m.ckpt")
    try:
        assert "left out, no plain tensors: odd" in conversion.convert(
            tmp_path / "m.ckpt", tmp_path / "out.safetensors"
        )
    except AudioRestorerError as error:
        assert "m.ckpt" in str(error) and ("odd" in str(error) or "cannot be read" in str(error))


def test_bfloat16_becomes_what_the_loaders_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "m.ckpt")
    conversion.convert(tmp_path / "m.ckpt", tmp_path / "m.safetensors")
    assert torch_files.state_of(tmp_path / "m.safetensors")["a"].dtype == torch.float32
