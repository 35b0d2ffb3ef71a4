"""The wheel alone in a new virtual environment restores a folder, does nothing twice, goes on after a kill, names what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.workflow.conftest import RATE, ROOT, speechlike

pytestmark = pytest.mark.slow
MAX_WHEEL_BYTES = 40e6
QUICKLY = [
    "--set",
    "separators=[{name: a, model: pilot_sep_a}]",
    "--set",
    "evaluate.metrics=[loudness, music]",
    "--set",
    "snippets.count=1",
]
STAGE = "*/artifacts/manifests/separate/a/*.jsonl"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a wheel that was built from here; the packages that it needs are this environment's, by a path file."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    venv.create(folder / "venv", with_pip=False)
    site = folder / f"venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (site / "dependencies.pth").write_text(str(Path(np.__file__).parents[1]) + "\n")
    subprocess.run([*pip, "--python", str(folder / "venv/bin/python"), "install", "--no-deps", str(wheel)], check=True)
    return folder / "venv/bin/audiorestorer"


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for number, name in enumerate(("in/one.wav", "in/sub/two.flac")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        clean = speechlike(number)
        sf.write(tmp_path / name, clean + 0.05 * rng.standard_normal(len(clean)), RATE)
    sf.write(tmp_path / "in/silent.wav", np.zeros(RATE), RATE)
    (tmp_path / "home").mkdir()
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    """As in a container: no PYTHONPATH, nothing of this environment on PATH, a home of its own."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder / "home"), "AUDIORESTORER_PROGRESS": "0"}


def run(program: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), "run", *arguments, *QUICKLY],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=400,
    )


def started(program: Path, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(program), "run", *arguments, *QUICKLY], cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not list(folder.glob(pattern)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file() and ".audiorestorer" not in path.parts
    }


def test_a_folder_is_restored_once_and_the_second_run_says_so(program: Path, batch: Path) -> None:
    first = run(program, batch, "in", "out")
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert len(lines) == 5 and lines[0].startswith("files     2 restored") and "silent.wav" in lines[1]
    work = batch / "out/.audiorestorer"
    before = states(batch / "out")
    assert before.keys() == {"one.wav", "sub/two.flac", "report.html"}
    assert sf.info(batch / "out/one.wav").frames == sf.info(batch / "in/one.wav").frames
    assert (batch / "out/report.html").stat().st_size > 1_000_000
    result, progress = (json.loads((work / name).read_text()) for name in ("result.json", "progress.json"))
    assert (result["exit_code"], result["files"], result["rejected"]) == (0, 2, 1)
    assert result["figures"][0].keys() == {"name", "unit", "before", "after"}
    assert (progress["state"], progress["done"], progress["total"]) == ("done", 2, 2)
    again = run(program, batch, "in", "out", "--strict")
    assert again.returncode == 1 and again.stdout.startswith("nothing to do"), again.stderr
    assert states(batch / "out").keys() == before.keys()
    assert {name: state for name, state in states(batch / "out").items() if name != "report.html"} == {
        name: state for name, state in before.items() if name != "report.html"
    }
    single = run(program, batch, "in/one.wav", "single")
    assert single.returncode == 0 and single.stdout.startswith("files     1 restored"), single.stderr
    assert np.array_equal(sf.read(batch / "single/one.wav")[0], sf.read(batch / "out/one.wav")[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_run_at_once_is_refused_and_a_killed_one_goes_on(
    program: Path, batch: Path, number: signal.Signals
) -> None:
    process = started(program, batch, "in", "out")
    wait_for(batch / "out", STAGE.replace("*/", ".audiorestorer/", 1), process)
    second = run(program, batch, "in", "out")
    assert second.returncode == 2 and second.stderr.startswith("audiorestorer: another run is working in "), (
        second.stderr
    )
    assert len(second.stderr.splitlines()) == 1
    process.send_signal(number)
    assert process.wait(60) in (-signal.SIGKILL, 128 + signal.SIGTERM)
    kept = {
        path: path.stat().st_mtime_ns
        for path in (batch / "out").glob(".audiorestorer/artifacts/store/separate/a/??/*.json")
    }
    assert kept
    third = run(program, batch, "in", "out")
    assert third.returncode == 0 and "2 restored" in third.stdout, third.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "finished items are not made again"


def test_a_full_and_a_read_only_disk_are_one_line_and_lose_nothing(program: Path, batch: Path) -> None:
    place = batch / "disk"
    place.mkdir()

    def mounted(options: str) -> bool:
        return (
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True).returncode
            == 0
        )

    if not shutil.which("mount") or os.geteuid() or not mounted("size=1m,ro"):
        pytest.skip("no right to mount a small disk")
    try:
        refused = run(program, batch, "in", "disk/out")
        assert (
            refused.returncode == 2
            and "Read-only file system" in refused.stderr
            and len(refused.stderr.splitlines()) == 1
        )
        subprocess.run(["umount", str(place)], check=True)
        assert mounted("size=700k")
        full = run(program, batch, "in", "disk/out")
        assert full.returncode == 3 and "no space left" in full.stderr.lower() and "Traceback" not in full.stderr
        subprocess.run(["mount", "-o", "remount,size=60m", str(place)], check=True)
        done = run(program, batch, "in", "disk/out")
        assert done.returncode == 0 and (place / "out/sub/two.flac").is_file(), done.stderr
    finally:
        subprocess.run(["umount", str(place)], check=False)
