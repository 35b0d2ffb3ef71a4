"""The weights of a checkpoint that names more than tensors, as safetensors.

Trainings save settings, optimisers and objects of their own classes beside the weights, and a pickle builds objects by calling what it
names. Here it is read with every such name standing for an object that does nothing: tensors come out whole, and nothing that the file
names is imported or run. The reading happens in a process of its own with bounds on memory and time.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from audiorestorer.apart import apart
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_bytes_atomic
from audiorestorer.models import weights
from audiorestorer.models.torch_files import NAMED, check_plain, check_stored, unwrapped

MEMORY_FACTOR, LEAST_MEMORY = 6, 2 << 30  # bytes per byte of the file, beyond what the process has
CPU_SEC = 900
ARCHIVE = b"PK\x03\x04"
# what may be called: what torch.save writes for tensors, and nothing else
BUILDERS = {
    ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_parameter"),
}  # fmt: skip
STORAGES = {
    "FloatStorage", "HalfStorage", "BFloat16Storage", "DoubleStorage", "LongStorage", "IntStorage", "ShortStorage", "CharStorage",
    "ByteStorage", "BoolStorage",
}  # fmt: skip


class Inert:
    """Stands for whatever else the pickle names: takes every argument and state, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Inert:
        return Inert()

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, *_: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in BUILDERS:
            return getattr(torch._utils, name)
        if module == "torch" and name in STORAGES:
            return getattr(torch, name)
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return Inert


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


def _check_archive(path: Path) -> None:
    """What torch reads in any other way than by `_Unpickler` is refused: streams of before 1.6, and TorchScript, which is code."""
    if not path.is_file():
        raise AudioRestorerError(f"{path}: cannot be read: no such file")
    with open(path, "rb") as file:
        begins_right = file.read(len(ARCHIVE)) == ARCHIVE
    if not begins_right or not zipfile.is_zipfile(path):
        raise AudioRestorerError(f"{path}: not the archive that torch.save writes: damaged, or another file")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.rpartition("/")[2] == "constants.pkl" or "/code/" in f"/{name}" for name in names):
        raise AudioRestorerError(f"{path}: a TorchScript program, not weights: refused")
    try:
        check_stored(path)
    except ValueError as error:
        raise AudioRestorerError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The weights, and the names beside them that are none."""
    _check_archive(path)
    torch.set_num_threads(1)  # a forked process must not wait for its parent's threads
    module = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="inert")
    try:
        content = torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)
    except MemoryError:
        raise
    except Exception as error:  # a hostile or damaged file can raise anything
        raise AudioRestorerError(f"{path}: cannot be read: {type(error).__name__}: {str(error):.200}") from error
    content = unwrapped(content)
    if not isinstance(content, Mapping):
        raise AudioRestorerError(f"{path}: holds no weights by their names")
    state, left_out = {}, []
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            check_plain(str(name), value, str(path))
            # one copy of each: names can share memory, which safetensors does not take; and it is read without bfloat16
            state[str(name)] = (value.float() if value.dtype == torch.bfloat16 else value.detach().clone()).contiguous()
        else:
            left_out.append(str(name))
    if not state or "__metadata__" in state:
        raise AudioRestorerError(f"{path}: no tensors in it, or one with a name that safetensors keeps for itself")
    return state, left_out


def _convert(path: Path, out: Path) -> str:
    state, left_out = _read(path)
    write_bytes_atomic(out, weights.to_bytes(state, {}))
    return f"{len(state)} tensors" + (
        f"; left out, no plain tensors: {', '.join(left_out[:NAMED])}" if left_out else ""
    )


def convert(path: Path, out: Path) -> str:
    """Write the weights of a checkpoint into a safetensors file.

    Returns:
        What was written, in a line.

    Raises:
        AudioRestorerError: no checkpoint, damaged, without weights, or it needs more memory or time than its size calls for.
    """
    if out.suffix != ".safetensors":
        raise AudioRestorerError(f"{out}: the file to write must end in .safetensors")
    try:
        if out.is_dir() or not out.resolve().parent.is_dir():
            raise AudioRestorerError(
                f"{out}: cannot be written: {'a folder' if out.is_dir() else 'its folder is not there'}"
            )
        memory = LEAST_MEMORY + MEMORY_FACTOR * path.stat().st_size
        made = apart(partial(_convert, path, out), memory, CPU_SEC)
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot be read: {error.strerror}") from error
    except AudioRestorerError as error:
        text = str(error)
        raise AudioRestorerError(
            text if str(path) in text or str(out) in text else f"{path}: not converted: {text}"
        ) from error
    return f"{out}: {made}"
