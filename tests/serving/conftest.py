"""A real server in a process of its own, and what asks it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """`audiorestorer serve` with further options; `token` is what it printed in its address."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "audiorestorer", "serve", "--port", "0", "--folder", str(folder), *options], cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        found = re.search(r"http://\S+:(\d+)/(?:\?token=(\S+))?", self.process.stdout.readline())
        assert found, self.process.communicate()
        self.port, self.token = int(found[1]), found[2]
        self.host = f"127.0.0.1:{self.port}"
        self.origin = f"http://{self.host}"

    def ask(self, method: str, path: str, body: bytes | dict[str, Any] | None = None, **headers: str | None) -> Answer:
        """Ask as the server's own page does; a header is changed by its name with `_` for `-`, left out by None."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent: dict[str, str | None] = {"Host": self.host, **({"Origin": self.origin} if method != "GET" else {})}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        if content is not None:
            connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        answer = connection.getresponse()
        try:
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def new(self, **asked: Any) -> str:
        answer = self.ask("POST", "/batches", {"preset": "speech_over_music", "title": "A batch", **asked})
        assert answer.status == 201, answer.text
        return str(answer.json["id"])

    def upload(self, batch: str, name: str, content: bytes) -> Answer:
        return self.ask("PUT", f"/batches/{batch}/files?name={quote(name, safe='', errors='surrogatepass')}", content)

    def state(self, batch: str) -> dict[str, Any]:
        rows = self.ask("GET", "/batches.json").json["batches"]
        return next(row for row in rows if row["id"] == batch)

    def wait(self, batch: str, *states: str, seconds: float = 240) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (row := self.state(batch))["state"] not in states:
            assert time.monotonic() < deadline, row
            time.sleep(0.1)
        return row

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it as it is but for batches of their own; small limits."""
    allowed = tmp_path_factory.mktemp("allowed")
    one = Server(
        tmp_path_factory.mktemp("queue"), "--max-file", "100kB", "--max-batch", "250kB", "--allow-folder", str(allowed)
    )
    yield one
    assert one.end() == 0


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a token."""
    one = Server(tmp_path_factory.mktemp("queue"), "--token")
    yield one
    assert one.end() == 0
