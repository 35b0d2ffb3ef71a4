"""Mistakes at the start are one line each, and the queue goes on after a stop, an end and a kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.serving import server as serving_server
from audiorestorer.serving.batches import Batch, Shelf
from audiorestorer.serving.runner import Runner
from tests.faults.disks import freeze, freezing, thaw
from tests.serving.conftest import ROOT, Server


def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = [
            sys.executable,
            "-m",
            "audiorestorer",
            "serve",
            "--port",
            str(port),
            "--folder",
            str(tmp_path / "queue"),
        ]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == f"audiorestorer: --port {port}: in use on 127.0.0.1: choose another, or 0 for a free one\n"
    assert not (tmp_path / "queue").exists()


def refused(folder: Path, **options: Any) -> str:
    """What a server says that cannot begin."""
    usual = {
        "host": "127.0.0.1",
        "port": 0,
        "allow_folder": [],
        "allowed_host": [],
        "cores": 1,
        "max_file": "1GB",
        "max_batch": "1GB",
    }
    with pytest.raises(AudioRestorerError) as error:
        serving_server.run(**{**usual, "folder": folder, "token": False, **options})
    assert "\n" not in str(error.value)
    return str(error.value)


def test_mistakes_are_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    free = tmp_path / "queue"
    assert "cannot be written to: Not a directory" in refused(tmp_path / "file/queue")
    assert "cannot be written to" in refused(Path("/proc/queue"))
    assert "another server has it" in refused(server.folder)
    assert "--max-file much: not a size" in refused(free, max_file="much")
    assert "--allow-folder /nowhere: no such folder" in refused(free, allow_folder=[Path("/nowhere")])
    assert "--host 203.0.113.1 --port 0: " in refused(free, host="203.0.113.1")
    assert "--host no such name --port 0: " in refused(free, host="no such name")


def test_a_folder_that_is_read_only_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    folder.mkdir()
    if freezing() is None:
        pytest.skip("no rights can be taken away here")
    freeze(folder)
    try:
        assert "cannot be written to: " in refused(folder)
    finally:
        thaw(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_asked(tmp_path: Path, number: int) -> None:
    one = Server(tmp_path / "queue")
    assert one.ask("GET", "/").status == 200
    assert one.end(number) == 0


def test_beyond_this_machine_a_token_is_asked_for(tmp_path: Path) -> None:
    one = Server(tmp_path / "queue", "--host", "0.0.0.0")
    assert one.token and one.ask("GET", "/").status == 401
    cookie = {"Cookie": f"audiorestorer-{one.port}={one.token}"}
    asked = {"preset": "noisy_speech", "source": str(tmp_path)}
    assert "takes no path" in one.ask("POST", "/batches", asked, **cookie).text
    assert one.end() == 0


def test_behind_a_proxy_a_token_is_asked_for(tmp_path: Path) -> None:
    one = Server(tmp_path / "queue", "--allowed-host", "studio.example")
    assert one.token and one.ask("GET", "/", Host="studio.example").status == 401
    asked = {"preset": "noisy_speech", "source": str(tmp_path)}
    headers = {
        "Host": "studio.example",
        "Origin": "https://studio.example",
        "Cookie": f"audiorestorer-{one.port}={one.token}",
    }
    assert "takes no path" in one.ask("POST", "/batches", asked, **headers).text
    assert one.ask("POST", "/batches", {"preset": "noisy_speech"}, **headers).status == 201
    assert one.end() == 0


SCRIPT = """
import json, pathlib, sys, time
work = pathlib.Path(sys.argv[1])
work.mkdir(parents=True, exist_ok=True)
with open(work / "begun", "a") as file:
    print("x", file=file)
while not (work.parent.parent / "go").exists():
    time.sleep(0.02)
(work / "progress.json").write_text(json.dumps({"state": "done"}))
"""


def command(batch: Batch) -> list[str]:
    """A run that ends when the file `go` lies beside its job."""
    return [sys.executable, "-c", SCRIPT, str(batch.work)]


def begun(batch: Batch) -> int:
    path = batch.work / "begun"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_one_batch_runs_at_a_time_and_a_stopped_one_goes_on(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first, second = (shelf.new(name, "p", str(tmp_path)) for name in "ab")
    runner = Runner(shelf, command)
    runner.start()
    wait(lambda: begun(first) == 1)
    assert first.job.state == "running" and second.job.state == "waiting" and begun(second) == 0
    with pytest.raises(Exception, match="stop it first"):
        shelf.remove(first)
    first.set("stopped", "", first.job.pid)
    wait(lambda: begun(second) == 1)
    (second.folder / "go").touch()
    wait(lambda: second.job.state == "done")
    (first.folder / "go").touch()
    first.set("waiting")
    wait(lambda: first.job.state == "done")
    assert begun(first) == 2
    runner.end()
    shelf.close()


def test_what_was_running_goes_on_with_the_next_server(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    batch = shelf.new("a", "p", str(tmp_path))
    runner = Runner(shelf, command)
    runner.start()
    wait(lambda: begun(batch) == 1)
    runner.end()
    assert batch.job.state == "waiting"
    shelf.close()
    shelf = Shelf(tmp_path)
    again = shelf.get(batch.id)
    assert again is not None and again.job.state == "waiting"
    (again.folder / "go").touch()
    runner = Runner(shelf, command)
    runner.start()
    wait(lambda: again.job.state == "done")
    assert begun(again) == 2
    runner.end()
    shelf.close()


ORPHANS = """
import pathlib, sys, time
from audiorestorer.serving.batches import Shelf
from audiorestorer.serving.runner import Runner
from tests.serving.test_server import command
shelf = Shelf(pathlib.Path(sys.argv[1]))
Runner(shelf, command).start()
time.sleep(600)
"""


def test_a_run_that_outlived_its_server_is_waited_for(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    older, batch = (shelf.new(name, "p", str(tmp_path)) for name in "ab")
    older.set("stopped")
    shelf.close()
    process = subprocess.Popen([sys.executable, "-c", ORPHANS, str(tmp_path)], cwd=ROOT)
    wait(lambda: begun(batch) == 1 and '"running"' in (batch.folder / "job.json").read_text())
    process.kill()
    process.wait()
    shelf = Shelf(tmp_path)
    first, again = shelf.all()
    assert (first.id, again.id) == (older.id, batch.id)
    first.set("waiting")
    runner = Runner(shelf, command)
    runner.start()
    wait(lambda: again.job.state == "running")
    time.sleep(0.6)
    assert again.job.state == "running" and begun(again) == 1 and begun(first) == 0
    for each in (again, first):
        (each.folder / "go").touch()
        wait(lambda batch=each: batch.job.state == "done")
    assert begun(again) == 1 and begun(first) == 1
    runner.end()
    shelf.close()


def test_a_run_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    batch = shelf.new("a", "p", str(tmp_path))
    runner = Runner(
        shelf,
        lambda batch: [sys.executable, "-c", "print('x'); print('audiorestorer: IN: no\\x1b[1mrecording'); exit(2)"],
    )
    runner.start()
    wait(lambda: batch.job.state == "failed")
    assert batch.job.message == "IN: no\\x1b[1mrecording"
    runner.end()
    shelf.close()


def test_a_fault_of_the_program_fails_one_batch_and_the_queue_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(tmp_path)
    bad, good = (shelf.new(name, "p", str(tmp_path)) for name in "ab")
    (good.folder / "go").touch()

    def broken(batch: Batch) -> list[str]:
        return command(batch) if batch is good else [{}["no such key"]]

    runner = Runner(shelf, broken)
    runner.start()
    wait(lambda: good.job.state == "done")
    assert bad.job.state == "failed" and bad.job.message == "KeyError: 'no such key'"
    assert "Traceback" in caplog.text
    runner.end()
    shelf.close()


def test_a_source_that_is_not_utf8_is_refused_and_a_damaged_row_leaves_the_list(tmp_path: Path) -> None:
    one = Server(tmp_path / "queue")
    os.mkdir(os.fsencode(tmp_path) + b"/nu\xffx")
    (tmp_path / "plain").symlink_to(os.fsdecode(os.fsencode(tmp_path) + b"/nu\xffx"))
    answer = one.ask("POST", "/batches", {"preset": "noisy_speech", "source": str(tmp_path / "plain")})
    assert answer.status == 409 and "nu\\xffx: its name is not UTF-8: rename it." in answer.text
    good = one.new()
    assert one.end() == 0
    shelf = Shelf(tmp_path / "queue")
    bad = shelf.new("old", "noisy_speech", os.fsdecode(b"/nu\xffx"))
    bad.set("stopped")
    shelf.close()
    one = Server(tmp_path / "queue")
    assert one.state(good)["state"] == "receiving"
    assert one.state(bad.id)["message"] == "The records of this batch are damaged."
    assert one.ask("GET", f"/batches/{bad.id}").status == 200
    assert one.ask("DELETE", f"/batches/{bad.id}").status == 204
    for number in ("9" * 5000, "-1", "x"):
        assert one.ask("GET", f"/batches/{good}/snippets/{number}/x").status == 404
        assert one.ask("GET", f"/batches/{good}/recordings/{number}/after").status == 404
    assert one.end() == 0


def test_a_damaged_record_leaves_one_batch_out(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    good, bad = (shelf.new(name, "p", None) for name in "ab")
    (bad.folder / "job.json").write_text('{"id": 5}')
    shelf.close()
    shelf = Shelf(tmp_path)
    assert [batch.id for batch in shelf.all()] == [good.id] and bad.folder.exists()
    shelf.close()
