"""Downloads through the registry from a real TLS server: cut, resumed, redirected, damaged, too large, a sign-in page."""

from __future__ import annotations

import hashlib
import http.server
import logging
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import fetching

CONTENT = np.random.default_rng(1).bytes(3_000_000)
OTHER = np.random.default_rng(2).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html><body>Please sign in to the hotel's network</body></html>"
HALF = 1_500_000

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl to make the server's certificate"
)


class Handler(http.server.BaseHTTPRequestHandler):
    """The first folder of a path says how the server behaves."""

    seen: list[tuple[str, str | None]] = []
    other = ""  # address of a second server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        how, asked = self.path.split("/")[1], self.headers.get("Range")
        first = not any(path == self.path for path, _ in self.seen)
        self.seen.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and how != "norange" else 0
        if how in ("to_http", "to_https", "to_ftp"):
            target = {"to_http": self.other, "to_https": "/plain/w.th", "to_ftp": "ftp://localhost/w.th"}[how]
            self.answer(302, b"", Location=target)
        elif how in ("page", "sneaky"):
            self.answer(200, PAGE, **{"Content-Type": "text/html" if how == "page" else "application/octet-stream"})
        elif how == "absent":
            self.answer(404, PAGE)
        elif how == "endless":
            self.answer(200, b"")
            while True:
                self.wfile.write(OTHER)
        elif how == "claims":
            self.answer(200, CONTENT, **{"Content-Length": str(10**15)})
        elif how == "wrong":
            self.answer(200, OTHER)
        elif how == "past_the_end":
            self.answer(416, b"") if asked else self.answer(200, CONTENT)
        elif how in ("cut", "norange", "stalls") and first:
            self.answer(200, CONTENT[:HALF], **{"Content-Length": str(len(CONTENT))})
            if how == "stalls":
                time.sleep(60)
        elif how == "always_cut":
            self.answer(200, CONTENT[: len(CONTENT) // 3], **{"Content-Length": str(len(CONTENT))})
        else:
            span = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
            self.answer(206 if start else 200, CONTENT[start:], **span)

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            if self.path.split("/")[1] != "endless" or key != "Content-Length":
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


@pytest.fixture
def server(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a TLS server whose certificate this process trusts; beside it one without TLS."""
    plain = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    tls = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    tls.socket = context.wrap_socket(tls.socket, server_side=True)
    tls.handle_error = plain.handle_error = lambda *_: None  # type: ignore[method-assign,assignment]
    for each in (plain, tls):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    monkeypatch.setattr(Handler, "seen", [])
    monkeypatch.setattr(Handler, "other", f"http://localhost:{plain.server_port}/plain/w.th")
    yield f"https://localhost:{tls.server_port}"
    for each in (plain, tls):
        each.shutdown()
        each.server_close()


def registry_file(folder: Path, source: str, more: str = f"sha256: {SHA256}, size_mb: 3") -> Path:
    path = folder / "models.yaml"
    path.write_text(
        f"models: {{m: {{kind: dns64, task: denoise, licence: MIT, source: '{source}', files: [{{name: w.th, {more}}}]}}}}"
    )
    return path


def fetched(folder: Path, source: str, more: str = f"sha256: {SHA256}, size_mb: 3") -> Path:
    record = fetching.fetch("m", registry_file(folder, source, more), folder / "m.json", folder / "cache")
    assert record["files"][0]["sha256"] == SHA256
    path = Path(record["files"][0]["path"])
    assert path.read_bytes() == CONTENT
    return path


def left(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache" / "m").iterdir()}


def ranges() -> list[str | None]:
    return [asked for _, asked in Handler.seen]


@pytest.mark.parametrize("how", ["plain", "to_https"])
def test_a_file_arrives_over_https(server: str, tmp_path: Path, how: str) -> None:
    fetched(tmp_path, f"{server}/{how}")
    assert left(tmp_path) == {"w.th"}


@pytest.mark.parametrize("how", ["to_http", "to_ftp"])
def test_a_redirect_away_from_https_is_refused(server: str, tmp_path: Path, how: str) -> None:
    with pytest.raises(AudioRestorerError, match=r"redirected to (http|ftp)://.* not https"):
        fetched(tmp_path, f"{server}/{how}")
    assert len(Handler.seen) == 1 and left(tmp_path) == set()


def test_a_server_without_a_known_certificate_is_refused(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(AudioRestorerError, match="certificate is not valid .*self-signed"):
        fetched(tmp_path, f"{server}/plain")
    assert Handler.seen == []


@pytest.mark.parametrize("how", ["page", "sneaky"])
def test_a_sign_in_page_is_told_from_the_file(server: str, tmp_path: Path, how: str) -> None:
    for more in (f"sha256: {SHA256}", "size_mb: 3"):
        with pytest.raises(AudioRestorerError, match=r"web page, not the file: a sign-in page .* put the file w\.th"):
            fetched(tmp_path, f"{server}/{how}", more)
    assert left(tmp_path) == set()


def test_a_broken_connection_is_resumed(server: str, tmp_path: Path) -> None:
    fetched(tmp_path, f"{server}/cut")
    assert ranges() == [None, f"bytes={HALF}-"]


def test_a_server_that_cannot_resume_sends_all_again(server: str, tmp_path: Path) -> None:
    fetched(tmp_path, f"{server}/norange")
    assert ranges() == [None, f"bytes={HALF}-"]


def test_without_a_hash_nothing_is_resumed(server: str, tmp_path: Path) -> None:
    fetched(tmp_path, f"{server}/cut", "size_mb: 3")
    assert ranges() == [None, None] and left(tmp_path) == {"w.th", ".w.th.sha256"}


def test_what_always_breaks_off_is_an_error_and_no_file(server: str, tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match=r"1000000 of 3000000 bytes arrived \(4 attempts\)"):
        fetched(tmp_path, f"{server}/always_cut")
    assert left(tmp_path) == {".w.th.part"}
    fetched(tmp_path, f"{server}/plain")
    assert ranges()[-1] == "bytes=1000000-" and left(tmp_path) == {"w.th"}


def test_a_killed_download_goes_on(server: str, tmp_path: Path) -> None:
    path = registry_file(tmp_path, f"{server}/stalls")
    command = [
        sys.executable,
        "-m",
        "audiorestorer",
        "fetch-model",
        "m",
        str(tmp_path / "m.json"),
        "--registry",
        str(path),
    ]
    command += ["--models-dir", str(tmp_path / "cache")]
    job = subprocess.Popen(command, stderr=subprocess.PIPE)
    part = tmp_path / "cache/m/.w.th.part"
    try:
        deadline = time.monotonic() + 120
        while not (part.exists() and part.stat().st_size == HALF) and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(AudioRestorerError, match="another process is fetching"):
            fetched(tmp_path, f"{server}/stalls")
    finally:
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
    assert left(tmp_path) == {".w.th.part"} and not (tmp_path / "m.json").exists()
    fetched(tmp_path, f"{server}/stalls")
    assert ranges() == [None, f"bytes={HALF}-"] and left(tmp_path) == {"w.th"}


def test_a_part_of_another_file_is_thrown_away(server: str, tmp_path: Path) -> None:
    (tmp_path / "cache/m").mkdir(parents=True)
    for rest in (OTHER[:HALF], OTHER):
        (tmp_path / "cache/m/.w.th.part").write_bytes(rest)
        fetched(tmp_path, f"{server}/past_the_end").unlink()
    assert ranges() == [f"bytes={HALF}-", None, f"bytes={len(OTHER)}-", None]


def test_wrong_content_is_an_error_and_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match=rf"sha256 is .*, the registry says {SHA256}: the download is damaged"):
        fetched(tmp_path, f"{server}/wrong")
    assert left(tmp_path) == set()


@pytest.mark.parametrize("how", ["endless", "claims"])
def test_no_more_than_announced_in_the_registry(server: str, tmp_path: Path, how: str) -> None:
    with pytest.raises(AudioRestorerError, match="larger than 6 MB"):
        fetched(tmp_path, f"{server}/{how}")
    assert left(tmp_path) == set()


def test_a_file_of_another_size_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="is 3 MB, the registry says about 134 MB"):
        fetched(tmp_path, f"{server}/plain", "size_mb: 134")
    assert left(tmp_path) == set()


def test_an_error_of_the_server_is_passed_on(server: str, tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="the server says 404"):
        fetched(tmp_path, f"{server}/absent")


@pytest.mark.parametrize("more", [f"sha256: {SHA256}", f"sha256: {SHA256[:16]}", "size_mb: 3"])
def test_a_cut_weight_is_named_and_fetched_again(
    server: str, tmp_path: Path, more: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetched(tmp_path, f"{server}/plain", more)
    os.truncate(path, HALF)
    with caplog.at_level(logging.WARNING):
        fetched(tmp_path, f"{server}/plain", more)
    assert str(path) in caplog.text and "fetching it again" in caplog.text


def test_offline_a_cut_weight_stays_and_the_error_says_what_to_do(server: str, tmp_path: Path) -> None:
    path = fetched(tmp_path, f"{server}/plain")
    os.truncate(path, HALF)
    with pytest.raises(
        AudioRestorerError, match=rf"With no network, put the file w\.th \(about 3 MB, sha256 {SHA256}\)"
    ):
        fetched(tmp_path, "https://x.invalid/a")
    assert path.stat().st_size == HALF
    path.write_bytes(CONTENT)
    fetched(tmp_path, "https://x.invalid/a")
