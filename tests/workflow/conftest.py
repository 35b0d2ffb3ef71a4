"""A small batch and tiny models, and a way to run snakemake on them for real."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.manifest import read_manifests
from tests import warm
from tests.tiny_models import write_tiny_mask_unet

ROOT = Path(__file__).parents[2]
RATE = 22_050


def speechlike(seed: int, seconds: float = 1.5, rate: int = RATE) -> np.ndarray:
    """A gliding harmonic tone in syllables, `[T]`."""
    rng = np.random.default_rng(seed)
    time_axis = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 60 * rng.random() + 30 * np.sin(2 * np.pi * 0.7 * time_axis)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    return 0.1 * voice * (np.sin(2 * np.pi * 3 * time_axis) > -0.3)


def command(folder: Path, config: Mapping[str, object], *arguments: str, house: Path = ROOT) -> list[str]:
    """Snakemake's command line for a run in a folder; its configuration is written there."""
    (folder / "run.json").write_text(json.dumps(config))
    return [
        sys.executable, "-m", "snakemake", "-s", str(house / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / "run.json"), "--workflow-profile", str(house / "profiles/default"),
        "--cores", "2", *arguments,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "OMP_WAIT_POLICY": "passive"}


def snakemake(folder: Path, config: Mapping[str, object], *arguments: str, house: Path = ROOT, ok: bool = True) -> str:
    """What a run says; it must end well, or, with `ok=False`, badly."""
    line = command(folder, config, *arguments, house=house)
    done = warm.run(*line[1:], cwd=house, env=environment())
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, text[-9000:]
    return text


class Workspace:
    """A folder with a batch, a registry of tiny models and a config, in which snakemake runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.house = ROOT
        self.config = {
            "input": "batch/input",  # relative, so that a copy at another place is the same batch: ingest is keyed by the path
            "registry": "models.yaml",
            "shards": 2,
            "device": "cpu",
            "separators": [{"name": "a", "model": "tiny_a"}, {"name": "b", "model": "tiny_b"}],
            "fuse": {"method": "mean"},
            "denoise": {"enabled": True, "model": "tiny_denoiser", "wet": 0.8},
            "postmask": {"enabled": True},
            "snippets": {"count": 1, "seconds": 1.0},
            "evaluate": {"metrics": ["loudness", "music", "signal", "intelligibility"]},
        }

    def command(self, *arguments: str) -> list[str]:
        return command(self.folder, self.config, *arguments, house=self.house)

    def run(self, *arguments: str, ok: bool = True) -> str:
        return snakemake(self.folder, self.config, *arguments, house=self.house, ok=ok)

    def render(self) -> str:
        """Run for the finished files and the figures: without snippets and pages, which take as long as the rest."""
        return self.run(*self.rendered())

    def rendered(self) -> list[str]:
        """The targets of `render`."""
        return [
            "--",
            "metrics",
            *(f"artifacts/manifests/publish/{shard}.jsonl" for shard in range(self.config["shards"])),
        ]

    def start(self, *arguments: str, forked: bool = True) -> subprocess.Popen[bytes]:
        """Start a run in a process group of its own, to be killed whole. `forked`: the server of `tests.warm` kills its jobs."""
        line = self.command(*arguments)
        return subprocess.Popen(
            [str(warm.executable()), *line[1:]] if forked else line, cwd=self.house, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, env=environment(),
        )  # fmt: skip

    def kill_when(self, process: subprocess.Popen[bytes], pattern: str, count: int) -> None:
        """Kill -9 the whole run as soon as `count` files match the pattern."""
        deadline = time.monotonic() + 240
        while len(list(self.folder.glob(pattern))) < count:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        warm.wait_for_end(self.folder / "artifacts/.lock")

    def rows(self, stage: str) -> dict[str, object]:
        paths = sorted((self.folder / "artifacts/manifests" / stage).glob("*.jsonl"))
        return {row.id: row for row in read_manifests(paths)}

    def outputs(self) -> dict[str, bytes]:
        root = self.folder / "artifacts/output"
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    def computed(self, stage: str) -> set[str]:
        """The keys of the finished items of a stage."""
        return {path.stem for path in (self.folder / "artifacts/store" / stage).glob("??/*.json")}

    def metrics(self) -> dict:
        return json.loads((self.folder / "artifacts/eval/metrics.json").read_text())


def make_workspace(folder: Path, items: int = 5) -> Workspace:
    workspace = Workspace(folder)
    batch = folder / "batch/input"
    rng = np.random.default_rng(1)
    for number in range(items):
        clean = speechlike(number)
        noisy = clean + 0.05 * rng.standard_normal(len(clean))
        name = ["x one.wav", "sub/tw'o.wav", "sub/ünï/three.flac", "four.wav", "five.wav"][number % 5]
        for root, signal_ in ((batch, noisy), (folder / "batch/clean", clean)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            sf.write(root / name, signal_, RATE)
    sf.write(batch / "silent.wav", np.zeros(RATE), RATE)
    (batch / "cut.wav").write_bytes((batch / "x one.wav").read_bytes()[:2000])
    for name in ("tiny_a", "tiny_b", "tiny_denoiser"):
        write_tiny_mask_unet(folder / f"{name}.safetensors")
    entries = "".join(
        f"  {name}:\n    kind: mask_network\n    source: {name}.safetensors\n    licence: MIT\n    sample_rate: 22050\n"
        f"    task: {'denoise' if 'denoiser' in name else 'separate'}\n"
        for name in ("tiny_a", "tiny_b", "tiny_denoiser")
    )
    (folder / "models.yaml").write_text(f"models:\n{entries}")
    return workspace


def copy_of(finished: Workspace, target: Path) -> Workspace:
    shutil.copytree(finished.folder, target, symlinks=True)
    return Workspace(target)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished run; tests copy it before they change anything. Under xdist it is made once for all workers, and each has a copy."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with open(f"{root}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            workspace = make_workspace(Path(f"{root}.making"))
            workspace.run()
            workspace.folder.rename(root)
        return copy_of(Workspace(root), tmp_path_factory.mktemp("finished") / "w")


@pytest.fixture
def copy(finished: Workspace, tmp_path: Path) -> Workspace:
    """A finished run of its own: there is nothing to be done in it until a test changes something."""
    return copy_of(finished, tmp_path / "w")
