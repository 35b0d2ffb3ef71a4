"""Model files that lie: none runs code, none takes the machine's memory, each is refused by name and with the reason."""

from __future__ import annotations

import ast
import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from audiorestorer import digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.recognisers import torchaudio_ctc
from audiorestorer.metrics.tagging import CLASSES
from audiorestorer.metrics.tagging import load as load_tagger
from audiorestorer.models import torch_files, weights
from audiorestorer.models.enhancer.checkpoint import load_checkpoint as load_enhancer
from audiorestorer.models.enhancer.settings import of_size
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint
from audiorestorer.separators import ModelFiles, Options, load
from audiorestorer.separators.demucs import Bag
from audiorestorer.training.running import resumable
from tests import tiny_models as tiny


class Runs:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, how: Callable[..., Any], *args: Any) -> None:
        self.call = (how, args)

    def __reduce__(self) -> Any:
        return self.call


def write_torch(path: Path, value: Any) -> None:
    torch.save(value, path)


def write_legacy(path: Path, value: Any) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def write_pickle(path: Path, value: Any) -> None:
    path.write_bytes(pickle.dumps(value))


def by_demucs(path: Path) -> Any:
    files = tiny.write_bag(path.parent / "bag", "m", [tiny.tiny_htdemucs()])
    os.replace(path, files[1])
    return load(ModelFiles.read(tiny.write_model_json(path.parent / "m.json", "m", "demucs", files)), Options())


def by_dns64(path: Path) -> Any:
    pytest.importorskip("denoiser")
    from audiorestorer.separators.dns64 import read_network

    return read_network(path)


def by_ctc(path: Path) -> Any:
    record = {"name": "m", "files": [{"path": str(path)}]}
    return torchaudio_ctc.load(Context(recogniser=record), "general")


def by_panns(path: Path) -> Any:
    names = [name for group in CLASSES.values() for name in group]
    rows = "".join(f'{index},/m/{index},"{name}"\n' for index, name in enumerate(names))
    (path.parent / "class_labels_indices.csv").write_text("index,mid,display_name\n" + rows)
    path = path.rename(path.with_suffix(".pth"))
    return load_tagger(
        {"name": "m", "files": [{"path": str(path.parent / "class_labels_indices.csv")}, {"path": str(path)}]}
    )


# What builds a large network before it looks into the file, a second each time, is given another call in each format.
SLOW = (by_ctc, by_panns)
WRITERS = [write_torch, write_legacy, write_pickle]
LOADERS = [by_demucs, by_dns64, by_ctc, by_panns, resumable, load_checkpoint, load_enhancer, weights.read]


@pytest.mark.parametrize("write", WRITERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("loader", LOADERS, ids=lambda each: f"{each.__module__.split('.')[-1]}.{each.__name__}")
def test_a_pickle_that_runs_code_is_refused_with_the_reason(
    loader: Callable[[Path], Any], write: Callable[[Path, Any], None], tmp_path: Path
) -> None:
    (tmp_path / "bag").mkdir()
    path, owned = tmp_path / "model.th", tmp_path / "owned"
    calls = [
        Runs(os.mkdir, str(owned)),
        Runs(eval, f"__import__('os').mkdir({str(owned)!r})"),
        Runs(os.system, f"mkdir {owned}"),
    ]
    for call in [calls[WRITERS.index(write)]] if loader in SLOW else calls:
        write(
            path,
            {"state": {"w": torch.zeros(2)}, "klass": dict, "args": (), "kwargs": {}, "class": dict, "extra": call},
        )
        with pytest.raises(AudioRestorerError, match="could run any code|not a readable safetensors file") as error:
            loader(path)
        assert str(tmp_path) in str(error.value) and not owned.exists()


READERS = {
    ("models.torch_files", "torch.load"), ("separators.demucs", "torch.load"), ("models.arrays", "safe_open"),
    ("separators.demucs", "safe_open"), ("datasets.bank", "np.load"), ("datasets.enhancement.mixing", "np.load"),
    ("training.fusion_examples", "np.load"), ("models.conversion", "torch.load"), ("models.conversion", "pickle.Unpickler"),
    ("checking", "yaml.SafeLoader"), ("models.onnx_run", "onnxruntime.InferenceSession"), ("models.export", "onnx.load"),
}  # fmt: skip
KINDS = (
    "load", "loads", "load_all", "unsafe_load", "full_load", "SafeLoader", "UnsafeLoader", "FullLoader", "safe_load", "safe_open",
    "InferenceSession", "read_pickle", "load_file", "load_from_checkpoint", "Unpickler",
)  # fmt: skip
OURS = {"json.loads", "json.load"}


def test_every_reader_of_foreign_files_is_known() -> None:
    """SECURITY.md lists what opens model and configuration files; a new one must be added there and tested here."""
    found = set()
    for path in digest.ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(digest.ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            owner, _, leaf = name.rpartition(".")
            libraries = (
                "torch",
                "np",
                "numpy",
                "yaml",
                "pickle",
                "onnx",
                "onnxruntime",
                "pd",
                "joblib",
                "safetensors",
                "torch.jit",
            )
            if leaf in KINDS and (owner in libraries or name in ("safe_open", "load_file")) and name not in OURS:
                found.add((module, name))
    assert found == READERS
    text = (digest.ROOT.parent / "SECURITY.md").read_text()
    assert all(f"`{module}`" in text for module, _ in READERS)


def raw(header: Any, body: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def tensor(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


LYING = {
    "empty": b"",
    "header of 2^63 bytes": raw(b"{}", size=2**63),
    "header of 4 GB": raw(b"{}", size=2**32),
    "header beyond the file": raw({"a": tensor([2], [0, 8])}, size=4000),
    "header no JSON": raw(b"{" * 64),
    "deep header": raw(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "shape larger than the data": raw({"a": tensor([1000, 1000], [0, 8])}, bytes(8)),
    "shape overflows": raw({"a": tensor([2**33, 2**33], [0, 8])}, bytes(8)),
    "negative shape": raw({"a": tensor([-1], [0, 8])}, bytes(8)),
    "offsets beyond the file": raw({"a": tensor([1000], [0, 4000])}, bytes(8)),
    "offsets backwards": raw({"a": tensor([2], [8, 0])}, bytes(8)),
    "offsets overlap": raw({"a": tensor([2], [0, 8]), "b": tensor([2], [4, 12])}, bytes(12)),
    "offsets with a hole": raw({"a": tensor([2], [0, 8]), "b": tensor([2], [16, 24])}, bytes(24)),
    "unknown type": raw({"a": tensor([2], [0, 8], "F33")}, bytes(8)),
    "type of another size": raw({"a": tensor([2], [0, 8], "F64")}, bytes(8)),
    "metadata no text": raw({"__metadata__": {"config": {"a": 1}}, "a": tensor([2], [0, 8])}, bytes(8)),
    "NaN": save({"a": torch.tensor([0.0, float("nan")])}),
    "infinity": save({"a": torch.tensor([0.0, float("inf")])}),
}


@pytest.mark.parametrize("name", LYING)
def test_safetensors_that_lie_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(LYING[name])
    for loader in (weights.read, load_checkpoint, load_enhancer, by_demucs_safetensors):
        if loader is by_demucs_safetensors and name in ("NaN", "infinity"):
            continue  # without its metadata it is refused sooner
        with pytest.raises(AudioRestorerError, match=r"m\.safetensors"):
            loader(path)


def by_demucs_safetensors(path: Path) -> Any:
    record = tiny.write_model_json(path.parent / "m.json", "m", "demucs", [path])
    return load(ModelFiles.read(record), Options())


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


GIANT_UNETS: list[dict[str, Any]] = [
    {"rnn_hidden": 8192, "rnn_layers": 32}, {"rnn_hidden": 10**9}, {"rnn_layers": 10**12}, {"rnn_layers": -1}, {"n_fft": 2**40},
    {"n_fft": 65536, "rnn_hidden": 8192}, {"channels": [10**7, 1, 1]}, {"channels": [8192] * 3}, {"channels": [1] * 10**5},
    {"channels": "abc"}, {"channels": [2.5, 1, 1]}, {"time_strides": [0, 1, 1]}, {"frequency_fold": 0}, {"sample_rate": 0},
    {"hop_length": 0}, {"n_fft": 512.0}, {"n_fft": True}, {"n_fft": None}, {"mask_limit": "x"}, {"mask_limit": 1e999},
    {"bottleneck": "os.system"}, {"bands": 10**6}, {"bands": 4}, {"band_width": 10**9},
    {
        "channels": [], "time_strides": [], "frequency_fold": 1, "bottleneck": "lstm", "bands": 32, "band_width": 1024,
        "rnn_hidden": 8192,
    },
]  # fmt: skip


@pytest.mark.parametrize("change", GIANT_UNETS, ids=lambda change: str(change)[:50])
def test_a_config_in_a_checkpoint_cannot_ask_for_a_giant(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model = MaskUNet(MaskUNetConfig(n_fft=64, hop_length=16, channels=(2, 2, 2), frequency_fold=2, rnn_hidden=4))
    metadata = {"architecture": "mask_unet", "format_version": "2", "task": "denoise"}
    config = json.dumps({**asdict(model.config), **change})
    save_file(model.state_dict(), str(path), metadata={**metadata, "config": config})
    before = peak_mb()
    with pytest.raises(AudioRestorerError, match=r"m\.safetensors: (bad config|weights do not fit)"):
        load_checkpoint(path)
    assert peak_mb() - before < 200


def test_an_enhancer_cannot_ask_for_a_giant(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    values = of_size("pilot").model_dump(mode="json")
    values["flow"] |= {"hidden": 8192, "layers": 100, "kernel": 15}
    metadata = {"architecture": "enhancer", "format_version": "1", "parts": '["flow"]', "config": json.dumps(values)}
    save_file({"a": torch.zeros(1)}, str(path), metadata=metadata)
    before = peak_mb()
    with pytest.raises(AudioRestorerError, match=r"m\.safetensors: describes a network of .* allowed: at most 1e\+09"):
        load_enhancer(path)
    assert peak_mb() - before < 200


GIANT_DEMUCS: list[dict[str, Any]] = [
    {"channels": 4000}, {"channels": 10**9}, {"channels": -1}, {"depth": 10**9}, {"t_layers": 10**9}, {"growth": 1e300},
    {"samplerate": 0}, {"sources": ["a"] * 1000}, {"segment": {"_type": "fraction", "numerator": 1, "denominator": 0}},
    {"nfft": 10**30}, {"t_heads": 0}, {"channels": "48"}, {"dconv_depth": 10**7},
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".safetensors", ".th"])
@pytest.mark.parametrize("change", GIANT_DEMUCS, ids=str)
def test_a_demucs_file_cannot_ask_for_a_giant(change: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    model, path = tiny.tiny_htdemucs(), tmp_path / f"m{suffix}"
    args, kwargs = model._init_args_kwargs
    if suffix == ".th":
        if "segment" in change:
            pytest.skip("no such Fraction can be pickled")
        torch.save({**tiny.package(model), "kwargs": {**kwargs, **change}}, path)
    else:
        tiny.write_safetensors(path, model, kwargs=json.dumps({**tiny._encode(kwargs), **change}))
    before = peak_mb()
    with pytest.raises(AudioRestorerError, match=rf"m{suffix}"):
        load(ModelFiles.read(tiny.write_model_json(tmp_path / "m.json", "m", "demucs", [path])), Options())
    assert peak_mb() - before < 300


def test_a_compressed_torch_file_is_refused(tmp_path: Path) -> None:
    plain, bomb = tmp_path / "plain.th", tmp_path / "bomb.th"
    torch.save({"w": torch.zeros(2_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert torch_files.read(plain)["w"].shape == (2_000_000,)
    assert bomb.stat().st_size < 20_000
    with pytest.raises(AudioRestorerError, match="compressed or overlap"):
        torch_files.read(bomb)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_cut_torch_file_is_refused(keep: float, tmp_path: Path) -> None:
    path = tmp_path / "w.th"
    for write in (write_torch, write_legacy):
        write(path, {"w": torch.randn(10_000)})
        os.truncate(path, int(path.stat().st_size * keep))
        with pytest.raises(AudioRestorerError, match=r"w\.th: not loaded: it is damaged"):
            torch_files.read(path)


BAGS = {
    "models: [../m]": "plain signature", "models: [/etc/passwd]": "plain signature", "models: ['a/b']": "plain signature",
    "models: ['a\\b']": "plain signature", "models: ['..']": "plain signature", "models: [3]": "plain signature",
    "models: [['a']]": "plain signature", 'models: ["a\\0b"]': "plain signature", "models: {a: b}": "needs a list",
    "models: []": "needs a list", "[]": "needs a list", "models: [" + "a, " * 100 + "]": "at most 64",
    "models: [a]\nweights: x": "a list of one row", "models: [a]\nweights: [[1], [2]]": "a list of one row",
    "models: [a]\nweights: [1]": "a list of one row", "models: [a]\nweights: [[.nan]]": "a list of one row",
    "models: [a]\nsegment: -1": "at most 600", "models: [a]\nsegment: .inf": "at most 600",
    "models: [a]\nsegment: !!python/name:os.system": "not valid YAML", "models: [a]\nmodels: [b]": "there twice",
}  # fmt: skip


@pytest.mark.parametrize("text", BAGS)
def test_bags_name_members_and_nothing_else(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bag.yaml"
    path.write_text(text)
    with pytest.raises(AudioRestorerError, match=BAGS[text]) as error:
        Bag.read(path)
    assert str(path) in str(error.value)


def test_a_bag_s_members_come_from_the_model_s_own_files(tmp_path: Path) -> None:
    """A file beside the folder is not found by its signature: only what the registry listed and checked is looked at."""
    (tmp_path / "inside").mkdir()
    files = tiny.write_bag(tmp_path / "inside", "m", [tiny.tiny_htdemucs()])
    (tmp_path / "inside" / "secret.th").write_bytes(files[1].read_bytes())
    files[0].write_text("models: [secret]")
    with pytest.raises(AudioRestorerError, match="needs one .* file of member secret, has 0"):
        load(ModelFiles.read(tiny.write_model_json(tmp_path / "m.json", "m", "demucs", files)), Options())
