"""docs/architecture.md is true: its names exist, and each how-to, followed in a copy of the project, makes the new thing work."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest

from audiorestorer import audio, digest
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.store import sha256_file
from tests.datasets.conftest import write_training_audio
from tests.how_to import PAGE, ROOT, command, copy_of_the_project, follow, python
from tests.training.test_train import TINY

PROSE = re.sub(r"^```.*?^```$", "", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
TEXT = "".join(line for line in PROSE.splitlines(keepends=True) if not line.startswith("New file"))
CODE = set(re.findall(r"`([^`\n]+)`", TEXT))
MODULES = {path.stem for path in digest.ROOT.iterdir()}
DOTTED = sorted(name for name in CODE if re.fullmatch(r"[a-z_]+(\.\w+)+", name) and name.split(".")[0] in MODULES)
PATHS = sorted(
    name
    for name in CODE
    if re.fullmatch(r"[\w./-]+", name) and "/" in name and not name.startswith(("artifacts/", "<"))
)


def definitions(tree: ast.AST) -> dict[str, ast.AST]:
    """The names that a module or class defines."""
    out: dict[str, ast.AST] = {}
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            out[node.name] = node
        elif isinstance(node, ast.Assign):
            out.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            out[node.target.id] = node
    return out


@pytest.mark.parametrize("name", DOTTED)
def test_every_name_of_the_map_exists(name: str):
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        base = digest.ROOT.joinpath(*parts[:count])
        path = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)
        if path:
            break
    assert path, f"no module {name}"
    node: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for part in parts[count:]:
        inside = definitions(node)
        assert part in inside, f"{path.relative_to(ROOT)} defines no {part}"
        node = inside[part]


@pytest.mark.parametrize("name", PATHS)
def test_every_path_of_the_map_exists(name: str):
    places = [root / name for root in (ROOT, digest.ROOT, ROOT / "rules")]
    assert any(place.exists() or list(place.parent.glob(Path(name).name)) for place in places), name


def test_the_separator_of_the_how_to_removes_hiss(tmp_path: Path) -> None:
    """A 440 Hz tone with hiss 60 dB below it, at another rate than the network's, in stereo."""
    house = copy_of_the_project(tmp_path)
    assert follow("Add a separator", house) == {"audiorestorer/separators/gate.py", "config/models.yaml"}
    rate, seconds = 48_000, 8
    t = np.arange(rate * seconds) / rate
    hiss = 0.0005 * np.random.default_rng(0).standard_normal((2, len(t)))
    mixture = (0.5 * np.sin(2 * np.pi * 440 * t) + hiss).astype(np.float32)
    audio.write(tmp_path / "in.wav", mixture, rate)
    row = Item(
        id="x",
        noisy="in.wav",
        path="in.wav",
        sha256=sha256_file(tmp_path / "in.wav"),
        sr=rate,
        channels=2,
        duration=seconds,
    )
    write_manifest(tmp_path / "in.jsonl", [row])
    command(house, "fetch-model", "gate", "gate.json")
    settings = '{"model": "gate", "wet": 1.0, "high_band": "keep"}'
    command(
        house,
        "denoise",
        "in.jsonl",
        "out.jsonl",
        "--config",
        settings,
        "--model",
        "gate.json",
        "--device",
        "cpu",
        "--store",
        "store",
    )
    (made,) = read_manifest(tmp_path / "out.jsonl")
    out = audio.read(tmp_path / str(made.path))[0]
    assert out.shape == mixture.shape
    middle = slice(rate, -rate)
    before, after = (np.abs(np.fft.rfft(signal[0, middle])) for signal in (mixture, out))
    hz = np.fft.rfftfreq(len(t[middle]), 1 / rate)
    band = (hz > 2000) & (hz < 15_000)
    removed_db = 20 * np.log10(np.linalg.norm(before[band]) / np.linalg.norm(after[band]))
    tone_db = 20 * np.log10(after[hz.searchsorted(440)] / before[hz.searchsorted(440)])
    assert removed_db > 20 and abs(tone_db) < 0.1


def test_the_loss_of_the_how_to_trains(tmp_path: Path) -> None:
    house = copy_of_the_project(tmp_path / "house")
    assert follow("Add a loss", house) == {"audiorestorer/losses/waveform.py"}
    write_training_audio(tmp_path / "data")
    experiment = {**TINY, "losses": {"mr_stft": 1.0, "log_l1": 0.5}}
    (tmp_path / "tiny.yaml").write_text(json.dumps(experiment))
    command(
        house,
        "train",
        "--config",
        "tiny.yaml",
        "--data",
        "data",
        "--out",
        "m.safetensors",
        "--work",
        "work",
        folder=tmp_path,
    )
    record = json.loads((tmp_path / "m.json").read_text())
    assert 0 < record["losses"]["log_l1"] < record["losses"]["loss"]
    assert (tmp_path / "m.safetensors").stat().st_size > 1000


@pytest.mark.parametrize("skipped", range(2))
def test_a_loss_that_is_half_added_is_an_error_at_start_up(tmp_path: Path, skipped: int) -> None:
    house = copy_of_the_project(tmp_path)
    follow("Add a loss", house, skipped)
    done = python(house, "-c", "import audiorestorer.losses.waveform")
    assert done.returncode == 1 and ("losses/waveform.py" in done.stderr) and "log_l1" in done.stderr
