"""Uploads on a real server: hostile names stay in their batch, limits hold, and nothing half-written is left."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiorestorer.serving import uploads
from audiorestorer.serving.batches import Shelf
from tests.faults.disks import can_mount, small_disk
from tests.serving.conftest import Server
from tests.test_windows_names import unfit

HOSTILE = {
    "../../../../etc/passwd.wav": "etc/passwd.wav",
    "/etc/cron.d/x.wav": "etc/cron.d/x.wav",
    "..\\..\\windows\\x.wav": "windows/x.wav",
    "C:\\Users\\me\\x.wav": "C_/Users/me/x.wav",
    "a/./b/../c.wav": "a/b/c.wav",
    "CON.wav": "CON_.wav",
    ".hidden/.x.wav": "_hidden/_x.wav",
    "-rf.wav": "_rf.wav",
    "a\nb\x00c\u202e.wav": "a_b_c_.wav",
    "<script>alert(1)</script>.wav": "_script_alert(1)_/script_.wav",
    "$(touch harmed) 'é'.wav": "$(touch harmed) 'é'.wav",
    "trailing. /x.wav ": "trailing__/x.wav_",
}


@pytest.mark.parametrize(("shown", "stored"), HOSTILE.items())
def test_a_hostile_name_stays_in_its_batch(server: Server, shown: str, stored: str) -> None:
    batch = server.new()
    answer = server.upload(batch, shown, b"sound")
    assert answer.status == 201 and answer.json["stored"] == stored
    found = [path for path in server.folder.joinpath(batch).rglob("*") if path.is_file()]
    assert {str(path.relative_to(server.folder / batch)) for path in found} == {
        f"input/{stored}",
        "job.json",
        "uploads.jsonl",
    }
    assert server.folder.joinpath(batch, "input", stored).read_bytes() == b"sound"
    assert server.ask("DELETE", f"/batches/{batch}").status == 204
    assert not server.folder.joinpath(batch).exists()


@given(st.text(st.characters(), min_size=1, max_size=400))
def test_any_name_is_safe_or_refused(shown: str) -> None:
    try:
        stored = uploads.safe_name(shown)
    except uploads.Refused:
        return
    path = PurePosixPath(stored)
    assert not path.is_absolute() and not {"..", "."} & set(path.parts) and "\\" not in stored
    assert all(part.isprintable() and part[0] not in ".-~" and len(part.encode()) <= 255 for part in path.parts)
    assert not [part for part in path.parts if unfit(part)]
    assert uploads.safe_name(stored) == stored or "~" in stored


def test_names_that_become_one_are_kept_apart(server: Server) -> None:
    batch = server.new()
    names = ["a?.wav", "a*.wav", "A_.WAV", "x.wav", "x.wav/y.wav", "é.wav", "e\u0301.wav"]
    stored = [server.upload(batch, name, name.encode()).json["stored"] for name in names]
    assert len({name.casefold() for name in stored}) == len(names)
    for name, place in zip(names, stored, strict=True):
        assert server.folder.joinpath(batch, "input", place).read_bytes() == name.encode()
    again = server.upload(batch, "x.wav", b"other")
    assert again.status == 409 and "already" in again.text
    assert server.folder.joinpath(batch, "input/x.wav").read_bytes() == b"x.wav"
    server.ask("DELETE", f"/batches/{batch}")


def test_limits_of_a_file_and_of_a_batch(server: Server) -> None:
    batch = server.new()
    for name in ("a.wav", "b.wav"):
        assert server.upload(batch, name, b"x" * 100_000).status == 201
    large = server.upload(batch, "c.wav", b"x" * 100_001)
    assert large.status == 413 and "100 kB" in large.text and "\n" not in large.text.strip()
    full = server.upload(batch, "d.wav", b"x" * 60_000)
    assert full.status == 413 and "250 kB" in full.text
    assert server.upload(batch, "e.wav", b"x" * 50_000).status == 201
    assert server.state(batch)["bytes"] == 250_000
    assert not list(server.folder.joinpath(batch).glob("*.part"))
    server.ask("DELETE", f"/batches/{batch}")


def test_a_body_of_unsaid_length_is_bounded_too(server: Server) -> None:
    batch = server.new()
    head = (
        f"PUT /batches/{batch}/files?name=a.wav HTTP/1.1\r\nHost: {server.host}\r\nOrigin: {server.origin}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode() + chunk * 8 + b"0\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"413"
    assert not list(server.folder.joinpath(batch).rglob("*.wav")) and not list(
        server.folder.joinpath(batch).glob("*.part")
    )
    server.ask("DELETE", f"/batches/{batch}")


def test_an_upload_that_breaks_off_leaves_nothing(server: Server) -> None:
    batch = server.new()
    folder = server.folder / batch
    head = (
        f"PUT /batches/{batch}/files?name=a.wav HTTP/1.1\r\nHost: {server.host}\r\nOrigin: {server.origin}\r\n"
        "Content-Length: 90000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"x" * 80_000)
        deadline = time.monotonic() + 30
        while not list(folder.glob("*.part")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert server.ask("POST", f"/batches/{batch}/start").status == 409
        assert server.upload(batch, "a.wav", b"other").status == 409, "its name is taken while it comes"
    while list(folder.glob("*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not list(folder.rglob("*.wav")) and server.state(batch)["bytes"] == 0
    assert server.upload(batch, "a.wav", b"whole").status == 201
    server.ask("DELETE", f"/batches/{batch}")


def test_a_zip_is_a_batch_of_its_own(server: Server) -> None:
    batch, other = server.new(), server.new()
    assert server.upload(batch, "a.ZIP", b"PK").status == 201
    assert server.upload(batch, "b.wav", b"x").status == 409
    assert server.upload(other, "b.wav", b"x").status == 201
    assert server.upload(other, "a.zip", b"PK").status == 409
    for each in (batch, other):
        server.ask("DELETE", f"/batches/{each}")


async def megabytes(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield bytes(1 << 20)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_mount(tmp_path / "trial"):
        pytest.skip("no tmpfs can be mounted here")
    limits = uploads.Limits(1 << 30, 1 << 30)

    def refused(length: int | None) -> str:
        with pytest.raises(uploads.Refused) as error:
            asyncio.run(uploads.receive(batch, receiving, "a.wav", megabytes(6), length, limits))
        assert error.value.status == 507 and not list(batch.folder.rglob("*.wav")) + list(batch.folder.glob("*.part"))
        return str(error.value)

    with small_disk(tmp_path / "disk", 4):
        shelf = Shelf(tmp_path / "disk")
        batch, receiving = shelf.new("t", "p", None), uploads.Receiving()
        assert "stay free: free some space" in refused(6 << 20)
        monkeypatch.setattr(uploads, "FREE_BYTES", 0)
        assert "free some space" in refused(6 << 20)
        assert "No space left on device" in refused(None)
        assert receiving.bytes == 0 and not receiving.names
        taken = asyncio.run(uploads.receive(batch, receiving, "a.wav", megabytes(2), 2 << 20, limits))
        assert taken.size == 2 << 20
        shelf.close()


def test_bad_questions_are_one_line(server: Server, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    cases: list[tuple[dict[str, object] | bytes, int, str]] = [
        (b"{", 400, "no JSON"),
        (b"[1]", 400, "no JSON object"),
        (b"[" * 60_000, 400, "no JSON"),
        (b"x" * 70_000, 413, "too long"),
        ({"preset": "nothing"}, 422, "no such preset"),
        ({"preset": ["a"]}, 422, "no such preset"),
        ({"preset": "noisy_speech", "source": str(outside)}, 409, "not in a folder that this server may read"),
        ({"preset": "noisy_speech", "source": "recordings"}, 409, "the whole path"),
        ({"preset": "noisy_speech", "source": "/nowhere\n\x00"}, 409, "the whole path"),
    ]
    for asked, status, message in cases:
        answer = server.ask("POST", "/batches", asked)  # type: ignore[arg-type]
        assert answer.status == status and message in answer.text, answer.text
        assert answer.text.count("\n") == 1
    assert server.ask("PUT", "/batches/none/files?name=a", b"x").status == 404
    batch = server.new()
    assert server.ask("POST", f"/batches/{batch}/start").text == "It has no file.\n"
    assert server.upload(batch, "..", b"x").status == 422
    assert server.upload(batch, "a" * 3000, b"x").status == 422
    assert server.upload(batch, "a/" * 40 + "b.wav", b"x").status == 422
    server.ask("DELETE", f"/batches/{batch}")
