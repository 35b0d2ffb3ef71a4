"""A small batch through the real commands of every stage, each run in a process of its own that a test may kill.

The processes are forked from one that has imported torch already: a run of the whole chain takes a second, not half a minute.
All paths are relative to the workspace, so that two workspaces end with the same bytes, manifests included.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import sys
import traceback
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import soundfile as sf

from audiorestorer import progress
from audiorestorer.manifest import read_manifest
from audiorestorer.store import Store, sha256_file
from tests.faults.injection import Fault

RATE = 22_050
STORE = "artifacts/store"
MODELS = ("tiny_a", "tiny_b", "tiny_denoiser")
NAMES = ("a one.wav", "b.flac", "sub/c.wav", "sub/d'e.wav", "sub/deep/f.flac", "g.wav")
PRELOADED = (
    "torch", "demucs.htdemucs", "pandas", "audiorestorer.training.fit", "tests.faults.workbench", "tests.tiny_models",
    "audiorestorer.__main__", "audiorestorer.separators.demucs", "audiorestorer.separators.mask_network",
    "audiorestorer.models.registry", "audiorestorer.metrics.groups.signal", "audiorestorer.metrics.groups.loudness",
    *(f"audiorestorer.stages.{name}" for name in (
        "ingest", "separate", "fuse", "denoise", "postmask", "loudness", "evaluate", "batch.collect", "publish",
    )),
)  # fmt: skip
REMEDY = re.compile(r"run the same command again|delete|free some|wait for it|put |give |made again|fetched again")


def context() -> multiprocessing.context.ForkServerContext:
    """Where processes come from. The server starts at the first and ends with this process."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(PRELOADED))
    return found


def _run(folder: str, commands: list[list[str]], log: str, fault: Fault | None, threads: int) -> None:
    """In the forked process: the commands one after another; the first that fails ends it with its exit code."""
    from audiorestorer.__main__ import main
    from audiorestorer.separators import demucs

    multiprocessing.set_start_method("fork", force=True)  # as a command has it: here it would be this process's own
    if threads > 1:  # as on a GPU: recordings in threads, their windows together
        demucs.on_gpu = lambda device: True
    os.chdir(folder)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    if fault is not None:
        fault.arm()
    code = 0
    for command in commands:
        sys.argv = ["audiorestorer", *command]
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
        if code:
            break
    if fault is not None:
        fault.note()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@dataclass
class Ended:
    """A process that ran to its end: `code` is negative for a signal."""

    code: int
    text: str

    @property
    def message(self) -> str:
        """What a user is told: from the last `audiorestorer: ` on."""
        found = f"\n{self.text}".rfind("\naudiorestorer: ")
        return self.text[found:] if found >= 0 else ""

    def clear(self) -> bool:
        """Exit code 2, one message that says what to do, no traceback."""
        return (
            self.code == 2
            and "Traceback" not in self.text
            and REMEDY.search(self.message) is not None
            and len(self.message) < 3000
        )


@dataclass
class Workbench:
    """A workspace. `threads`: the second separator is a bag whose recordings are processed in so many threads."""

    folder: Path
    threads: int = 1
    context: multiprocessing.context.ForkServerContext = field(default_factory=context)

    @property
    def config(self) -> dict[str, object]:
        return {
            "input": "input", "registry": "models.yaml", "shards": 1, "device": "cpu",
            "separators": [{"name": "a", "model": "tiny_a"}, {"name": "b", "model": "tiny_b"}],
            "fuse": {"method": "mean"}, "denoise": {"enabled": True, "model": "tiny_denoiser"},
            "postmask": {"enabled": True, "floor": 1.0},
            "evaluate": {"metrics": ["loudness", "signal"]},
        }  # fmt: skip

    def commands(self) -> list[list[str]]:
        """The chain, as Snakemake's rules call it for one shard."""

        def manifest(stage: str) -> str:
            return f"artifacts/manifests/{stage}/0.jsonl"

        store, network = ["--store", STORE], ["--device", "cpu", "--threads", "1"]
        out = [["ingest", manifest("ingest"), "--config", json.dumps(self.config), *store]]
        for model in MODELS:
            out.append(["fetch-model", model, f"artifacts/models/{model}.json", "--registry", "models.yaml"])
        for name, model in (("a", "tiny_a"), ("b", "tiny_b")):
            rows = {"batch_size": self.threads} if name == "b" and self.threads > 1 else {}
            settings = json.dumps({"name": name, "model": model, "backend": "torch", "precision": "float32", **rows})
            out.append([
                "separate", manifest("ingest"), manifest(f"separate/{name}"), "--config", settings,
                "--model", f"artifacts/models/{model}.json", *store, *network,
            ])  # fmt: skip
        settings = json.dumps(self.config["fuse"])
        out.append(
            ["fuse", manifest("separate/a"), manifest("separate/b"), manifest("fuse"), "--config", settings, *store]
        )
        settings = json.dumps({"model": "tiny_denoiser"})
        out.append([
            "denoise", manifest("fuse"), manifest("denoise"), "--config", settings,
            "--model", "artifacts/models/tiny_denoiser.json", *store, *network,
        ])  # fmt: skip
        for stage, before in (("postmask", "denoise"), ("loudness", "postmask")):
            out.append([stage, manifest(before), manifest(stage), "--config", "{}", *store])
        metrics = json.dumps(self.config["evaluate"])
        out.append(["evaluate", manifest("loudness"), manifest("evaluate"), "--config", metrics, *store])
        eval_files = ["--json", "artifacts/eval/metrics.json", "--csv", "artifacts/eval/metrics.csv"]
        out.append(["collect", manifest("evaluate"), *eval_files])
        places = ["--output", "output", "--input", "input", "--ledger", "artifacts/published"]
        out.append(["publish", manifest("loudness"), manifest("publish"), *places, *store])
        return out

    def start(
        self, fault: Fault | None = None, commands: list[list[str]] | None = None, log: str = "log"
    ) -> BaseProcess:
        """Start the chain (or other commands) in a process of its own."""
        arguments = (str(self.folder), commands or self.commands(), str(self.log(log)), fault, self.threads)
        process = self.context.Process(target=_run, args=arguments)
        process.start()
        return process

    def log(self, name: str) -> Path:
        return self.folder.parent / f"{self.folder.name}.{name}"  # not in the folder: that may be a full disk

    def end(self, process: BaseProcess, log: str = "log", limit_sec: float = 600) -> Ended:
        """Wait for a process; one that hangs is killed, and says so."""
        process.join(limit_sec)
        if process.exitcode is None:
            process.kill()
            process.join()
            return Ended(1, f"hung for {limit_sec:g} s\n{self.log(log).read_text(errors='replace')}")
        return Ended(process.exitcode, self.log(log).read_text(errors="replace"))

    def run(self, fault: Fault | None = None, commands: list[list[str]] | None = None) -> Ended:
        return self.end(self.start(fault, commands))

    def results(self) -> dict[str, str]:
        """SHA-256 of all that a run leaves for a user or for the next stage; not of what notes how long it took."""
        folders = ("output", "artifacts/manifests", "artifacts/eval")
        paths = [path for name in folders for path in sorted((self.folder / name).rglob("*")) if path.is_file()]
        return {
            str(path.relative_to(self.folder)): sha256_file(path)
            for path in paths
            if not path.name.startswith(".") and not path.name.endswith(progress.SUFFIX)
        }

    def entries(self) -> dict[str, tuple[int, int]]:
        """The finished items of all stages: inode and time of each entry's record."""
        root = self.folder / STORE
        found = {}
        for path in root.rglob("*.json"):
            if not path.name.startswith("."):
                info = path.stat()
                found[str(path.relative_to(root))] = (info.st_ino, info.st_mtime_ns)
        return found

    def in_progress(self) -> int:
        """How many items were being made when a run was killed."""
        return len(list((self.folder / STORE).rglob(".tmp-*")))

    def half_written(self) -> list[str]:
        """What stands under a final name and is not whole."""
        bad = []
        root = self.folder / STORE
        for name in self.entries():
            stage, key = str(Path(name).parents[1]), Path(name).stem
            if (why := Store(root, stage).damaged(key)) is not None:
                bad.append(f"{name}: {why}")
        for path in (self.folder / "artifacts/manifests").rglob("[!.]*.jsonl"):
            try:
                rows = read_manifest(path)
            except Exception as error:
                bad.append(str(error))
                continue
            bad += [
                f"{path}: {row.path} is not there"
                for row in rows
                if row.ok and row.path != row.noisy and not (self.folder / (row.path or "")).exists()
            ]
        for path in (self.folder / "output").rglob("[!.]*.*"):
            try:
                sf.read(path)
            except Exception as error:
                bad.append(f"{path}: {error}")
        for path in [
            *(self.folder / "artifacts/eval").glob("[!.]*.json"),
            *(self.folder / "artifacts/models").glob("*.json"),
        ]:
            try:
                json.loads(path.read_text())
            except ValueError as error:
                bad.append(f"{path}: {error}")
        return bad


def write_workbench(folder: Path, items: int = 4, threads: int = 1) -> Workbench:
    """Recordings of half a second and the tiny models."""
    from tests.tiny_models import write_tiny_htdemucs_bag, write_tiny_mask_unet

    rng = np.random.default_rng(5)
    for number in range(items):
        name = NAMES[number] if number < len(NAMES) else f"x{number}.wav"
        path = folder / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(int((0.6 + 0.05 * (number % 5)) * RATE)) / RATE
        voice = sum(np.sin(2 * np.pi * (110 + 7 * number) * k * time) / k for k in range(1, 12))
        sf.write(path, 0.1 * voice * (np.sin(18 * time) > -0.3) + 0.02 * rng.standard_normal(len(time)), RATE)
    lines = []
    for name in MODELS:
        task, kind, source, rate = (
            "denoise" if "denoiser" in name else "separate",
            "mask_network",
            f"{name}.safetensors",
            RATE,
        )
        if name == "tiny_b" and threads > 1:
            write_tiny_htdemucs_bag(folder / "bag")
            kind, source, rate = "demucs", "./bag", 8000
        else:
            write_tiny_mask_unet(folder / f"{name}.safetensors", task)
        lines.append(f"  {name}: {{kind: {kind}, source: {source}, licence: MIT, sample_rate: {rate}, task: {task}}}\n")
    (folder / "models.yaml").write_text("models:\n" + "".join(lines))
    return Workbench(folder, threads)


def copied(source: Workbench, target: Path) -> Workbench:
    """A workspace like another, in the state that it has."""
    shutil.copytree(source.folder, target, symlinks=True, dirs_exist_ok=True)
    return Workbench(target, source.threads, source.context)
