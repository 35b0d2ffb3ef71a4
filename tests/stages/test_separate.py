"""separate: lengths, rates and channels kept; the store is used without torch; bad inputs are rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audiorestorer import audio
from audiorestorer.config import SeparatorSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.stages import separate
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests import tiny_models as tiny


def an_item(folder: Path, name: str, shape: tuple[int, int], rate: int) -> Item:
    path = folder / f"{name}.wav"
    audio.write(path, np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 0.1, rate)
    return Item(id=name, noisy=str(path), path=str(path), sha256=sha256_file(path), sr=rate, channels=shape[0])


def settings(**more) -> SeparatorSettings:
    return SeparatorSettings(name="tiny", model="tiny", **more)


def test_stems_are_as_long_as_the_input(tmp_path: Path) -> None:
    model = tiny.write_model_json(
        tmp_path / "m.json", "tiny", "demucs", tiny.write_tiny_htdemucs_bag(tmp_path / "bag", "tiny")
    )
    shapes = {"mono48": ((1, 24_001), 48_000), "stereo8": ((2, 9001), 8_000), "tiny11": ((1, 1103), 11_025)}
    write_manifest(tmp_path / "in.jsonl", [an_item(tmp_path, name, *shape) for name, shape in shapes.items()])
    separate.run(
        tmp_path / "in.jsonl",
        tmp_path / "out.jsonl",
        settings(accompaniment="stems", backend="torch", precision="float32"),
        Job(tmp_path / "store", "cpu"),
        model,
    )
    for item in read_manifest(tmp_path / "out.jsonl"):
        (channels, frames), rate = shapes[item.id]
        assert (
            item.ok
            and set(item.stems or {}) == {"vocals", "accompaniment"}
            and item.path == (item.stems or {})["vocals"]
        )
        assert item.sha256 == sha256_file(item.path)
        for path in (item.stems or {}).values():
            info = audio.probe(path)
            assert (info.channels, info.frames, info.sample_rate, info.subtype) == (channels, frames, rate, "FLOAT")


def test_a_finished_shard_imports_no_torch_and_batch_size_is_no_key(tmp_path: Path) -> None:
    tiny.write_tiny_mask_unet(tmp_path / "w.safetensors")
    model = tiny.write_model_json(tmp_path / "m.json", "tiny", "mask_network", [tmp_path / "w.safetensors"])
    write_manifest(tmp_path / "in.jsonl", [an_item(tmp_path, "a", (2, 30_000), 32_000)])
    places = (tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    separate.run(*places, settings(), Job(tmp_path / "store", "cpu"), model)
    first = places[1].read_bytes()
    code = (
        "import sys; from pathlib import Path; from audiorestorer.stages import separate;"
        "from audiorestorer.config import SeparatorSettings as S; from audiorestorer.stages.job import Job;"
        f"separate.run(Path({str(places[0])!r}), Path({str(places[1])!r}), S(name='tiny', model='tiny', batch_size=1),"
        f" Job(Path({str(tmp_path / 'store')!r}), 'cpu'), Path({str(model)!r})); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "1 in store" in done.stderr, done.stderr
    assert places[1].read_bytes() == first


def test_what_cannot_be_separated(tmp_path: Path) -> None:
    tiny.write_tiny_mask_unet(tmp_path / "w.safetensors")
    model = tiny.write_model_json(tmp_path / "m.json", "tiny", "mask_network", [tmp_path / "w.safetensors"])
    write_manifest(tmp_path / "in.jsonl", [an_item(tmp_path, "a", (9, 3000), 16_000)])
    separate.run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", settings(), Job(tmp_path / "store", "cpu"), model)
    assert "9 channels" in (read_manifest(tmp_path / "out.jsonl")[0].reason or "")
    with pytest.raises(AudioRestorerError, match="accompaniment: residual"):
        write_manifest(tmp_path / "in.jsonl", [an_item(tmp_path, "b", (1, 3000), 16_000)])
        wanted = settings(accompaniment="stems")
        separate.run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", wanted, Job(tmp_path / "store", "cpu"), model)
    with pytest.raises(AudioRestorerError, match="fetch-model tiny"):
        separate.run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", settings(), Job(tmp_path / "store"), None)
