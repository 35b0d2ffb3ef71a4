"""An optional package that is not there: one message that names it and what to do, or a reason in the table; never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.store import sha256_file
from tests import tiny_models as tiny

ROOT = Path(__file__).parents[1]
EXTRAS = ("denoiser", "diffq", "pesq", "faster_whisper")


def without(packages: Sequence[str]) -> str:
    """A `sitecustomize` for a subprocess: the finder of installed modules finds all but these, as where nothing installed them."""
    return f"""import importlib.machinery, sys
class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {packages!r} else super().find_spec(name, path, target)
sys.meta_path = [Without if one is importlib.machinery.PathFinder else one for one in sys.meta_path]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One recording as a row of every stage, and the block."""
    (tmp_path / "block").mkdir()
    (tmp_path / "block/sitecustomize.py").write_text(without(EXTRAS))
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "x.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    path, digest = str(tmp_path / "x.wav"), sha256_file(tmp_path / "x.wav")
    row = Item(id="x", noisy=path, path=path, clean=path, sha256=digest, noisy_sha256=digest, clean_sha256=digest, sr=16_000,
               channels=1, duration=1.0, transcript="hello", output="x.wav")  # fmt: skip
    write_manifest(tmp_path / "in.jsonl", [row])
    return tmp_path


def run(folder: Path, command: str, *options: str) -> tuple[int, str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "block"), str(ROOT)])}
    line = [sys.executable, "-m", "audiorestorer", command, "in.jsonl", "out.jsonl", "--store", "store", *options]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder, env=env)
    return done.returncode, done.stdout + done.stderr


def test_they_are_blocked(folder: Path) -> None:
    code = f"from importlib.util import find_spec; print([bool(find_spec(name)) for name in {(*EXTRAS, 'demucs')!r}])"
    env = {**os.environ, "PYTHONPATH": str(folder / "block")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "[False, False, False, False, True]"


def test_dns64_without_its_package(folder: Path) -> None:
    (folder / "d.th").write_bytes(b"weights")
    model = tiny.write_model_json(folder / "d.json", "dns64", "dns64", [folder / "d.th"])
    code, text = run(folder, "denoise", "--config", '{"model": "dns64"}', "--model", str(model), "--device", "cpu")
    assert code == 2 and "Traceback" not in text
    assert (
        "pip install --no-deps denoiser==0.1.5" in text
        and "`denoise: {model: pilot_denoiser}` serves without it" in text
    )


def test_a_quantised_bag_without_diffq(folder: Path) -> None:
    pytest.importorskip("diffq", reason="writing a quantised bag needs diffq")
    files = tiny.write_tiny_hdemucs_bag(folder / "bag", "m", quantised=True)
    model = tiny.write_model_json(folder / "m.json", "m", "demucs", files)
    config = json.dumps({"name": "m", "model": "m", "backend": "torch"})
    code, text = run(folder, "separate", "--config", config, "--model", str(model), "--device", "cpu")
    assert code == 2 and "Traceback" not in text and "needs `pip install diffq==0.2.4`" in text


def test_metrics_without_their_packages_are_reasons_and_the_others_are_measured(folder: Path) -> None:
    recogniser = tiny.write_model_json(
        folder / "w.json", "w", "faster_whisper", [], task="recognise", sample_rate=16_000
    )
    code, text = run(
        folder,
        "evaluate",
        "--config",
        '{"metrics": ["loudness", "pesq", "wer"], "recogniser": "w"}',
        "--recogniser",
        str(recogniser),
    )
    assert code == 0 and "Traceback" not in text, text
    (row,) = read_manifest(folder / "out.jsonl")
    missing = row.missing
    assert "the package pesq is not installed (make setup-extras" in missing["pesq"]
    assert "faster_whisper is not installed (make setup-extras)" in missing["wer"]
    assert np.isfinite(row.metrics["lufs"])
