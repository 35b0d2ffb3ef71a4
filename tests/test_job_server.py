"""Jobs that are forked from a server end as an interpreter of their own would: code, output, folder, environment, and a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiorestorer import job_server

ROOT = Path(__file__).parents[1]
SHELL = ["sh", str(ROOT / "rules/python.sh")]
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the server is Linux's")
# A server whose jobs say where they are, and wait
WAITING = """
import os, sys, time
from pathlib import Path
from audiorestorer import job_server
def wait(folder, arguments, environment):
    try:
        Path(folder, "job").write_text(str(os.getpid()))
        time.sleep(60)
    except KeyboardInterrupt:
        Path(folder, "interrupted").touch()
    return 0
job_server.command = wait
job_server.serve(sys.argv[1], (), ())
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A running server's socket; its jobs find it by the environment."""
    monkeypatch.delenv(job_server.SWITCH, raising=False)
    monkeypatch.delenv(job_server.ADDRESS, raising=False)
    monkeypatch.setenv("AUDIORESTORER_EXECUTABLE", sys.executable)
    stop = job_server.start(sys.executable)
    address = Path(os.environ[job_server.ADDRESS])
    wait_until(address.exists)
    yield address
    stop()
    assert job_server.ADDRESS not in os.environ and not address.parent.exists()


def wait_until(is_so) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def both(server: Path, *arguments: str, cwd: Path = ROOT, **environment: str) -> list[subprocess.CompletedProcess[str]]:
    """A job by the server, and as an interpreter of its own."""
    env = {**os.environ, **environment}
    alone = {name: value for name, value in env.items() if name != job_server.ADDRESS}
    return [
        subprocess.run([*SHELL, *arguments], cwd=cwd, env=each, capture_output=True, text=True) for each in (env, alone)
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-m", "audiorestorer", "--help"], 0, "Restore audio in bulk"),
        (["-m", "audiorestorer", "fuse", "absent.jsonl", "out.jsonl", "--config", "{}"], 2, "absent.jsonl"),
        (["-m", "audiorestorer", "no-such-command"], 2, "No such command"),
        (["-c", "import sys; print(sys.flags.isolated, __name__); sys.exit(7)"], 7, "0 __main__"),
    ],
)
def test_a_job_ends_as_an_interpreter_of_its_own_would(
    server: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    forked, alone = both(server, *arguments, cwd=tmp_path)
    assert (forked.returncode, forked.stdout, forked.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    assert forked.returncode == code and said in forked.stdout + forked.stderr


def test_jobs_have_their_own_folder_environment_and_memory(server: Path, tmp_path: Path) -> None:
    """`config` writes below the folder of the job; the second job finds nothing of the first."""
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        forked, _ = both(server, "-m", "audiorestorer", "config", "c.yaml", cwd=folder)
        assert forked.returncode == 0 and (folder / "c.yaml").stat().st_size > 1000


def test_without_a_server_that_answers_a_job_is_an_interpreter_of_its_own(server: Path, tmp_path: Path) -> None:
    dead = tmp_path / "s"
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    forked, _ = both(server, "-m", "audiorestorer", "--help", **{job_server.ADDRESS: str(dead)})
    assert forked.returncode == 0 and "Restore audio in bulk" in forked.stdout


def test_a_killed_client_takes_its_job_with_it_and_the_server_ends_with_its_parent(tmp_path: Path) -> None:
    address = Path(f"/tmp/jobs-{os.getpid()}")
    process = subprocess.Popen([sys.executable, "-c", WAITING, str(address)], cwd=ROOT, stdin=subprocess.PIPE)
    try:
        wait_until(address.exists)
        env = {**os.environ, job_server.ADDRESS: str(address), "AUDIORESTORER_EXECUTABLE": sys.executable}
        client = subprocess.Popen([*SHELL, "-m", "audiorestorer"], cwd=tmp_path, env=env)
        wait_until(lambda: (tmp_path / "job").exists() and (tmp_path / "job").read_text())
        job = int((tmp_path / "job").read_text())
        client.send_signal(signal.SIGKILL)
        client.wait()
        wait_until(lambda: not Path(f"/proc/{job}").exists())
        assert (tmp_path / "interrupted").exists(), "it was interrupted before it was killed"
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        address.unlink(missing_ok=True)


@pytest.mark.parametrize("switch", ["0", None])
def test_it_can_be_switched_off_and_does_not_begin_twice(monkeypatch: pytest.MonkeyPatch, switch: str | None) -> None:
    monkeypatch.delenv(job_server.SWITCH, raising=False)
    if switch:
        monkeypatch.setenv(job_server.SWITCH, switch)
    else:
        monkeypatch.setenv(job_server.ADDRESS, "/tmp/another")
    before = dict(os.environ)
    job_server.start("/no/such/python")()
    assert dict(os.environ) == before


def test_a_folder_of_the_socket_with_a_long_name_is_no_trouble(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A socket's path has 107 bytes at most."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.delenv(job_server.SWITCH, raising=False)
    monkeypatch.delenv(job_server.ADDRESS, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    stop = job_server.start(sys.executable)
    forked = subprocess.run(
        [*SHELL, "-m", "audiorestorer", "--help"], env={**os.environ, "AUDIORESTORER_EXECUTABLE": sys.executable},
        capture_output=True, text=True,
    )  # fmt: skip
    stop()
    shutil.rmtree(long)
    assert forked.returncode == 0 and "Restore audio in bulk" in forked.stdout
