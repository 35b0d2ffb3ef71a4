"""Archives that lie: every one of them is read by the real code, within bounds."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from audiorestorer import zipped
from audiorestorer.errors import AudioRestorerError

BOUNDS = zipped.Bounds(files=1000, unpacked=10**9, ratio=100)
NUL = 1_000_000


def write(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


def test_members_and_content(tmp_path):
    path = write(tmp_path / "a.zip", {"b/ü x.wav": b"two" * 99, "a.wav": b"one", "empty/": b""})
    found = zipped.members(path, BOUNDS)
    assert [(m.name, m.size, m.crc, m.problem) for m in found] == [
        ("a.wav", 3, zlib.crc32(b"one"), None), ("b/ü x.wav", 297, zlib.crc32(b"two" * 99), None),
    ]  # fmt: skip
    with zipped.opened(path, 10) as archive:
        zipped.extract(archive, "b/ü x.wav", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"two" * 99


@pytest.mark.parametrize(
    "name",
    ["../x.wav", "a/../../x.wav", "/etc/x.wav", "..\\x.wav", "C:/x.wav", "C:x.wav", "a//x.wav", "./x.wav", "a/./x.wav"],
)
def test_paths_that_lead_out_are_problems(tmp_path, name):
    path = write(tmp_path / "a.zip", {name: b"x", "fine.wav": b"y"})
    problems = {member.name: member.problem for member in zipped.members(path, BOUNDS)}
    assert "leads out" in (problems.pop(name) or "") and problems == {"fine.wav": None}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_problems(tmp_path, kind):
    info = zipfile.ZipInfo("x.wav")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert zipped.members(tmp_path / "a.zip", BOUNDS)[0].problem == "a link or a device, not a file"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_problems_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("twice.wav", "a")
        archive.writestr("twice.wav", "b")
        archive.writestr("packed.wav", b"c" * 99, zipfile.ZIP_LZMA)
        archive.writestr("n" * 256 + ".wav", "d")
        archive.writestr("secret.wav", "e")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    entry = content.rfind(b"secret.wav") - 46
    content[entry + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    problems = {member.name[:10]: member.problem or "" for member in zipped.members(tmp_path / "a.zip", BOUNDS)}
    assert "stands 2 times" in problems["twice.wav"] and "compression method 14" in problems["packed.wav"]
    assert "255 bytes" in problems["nnnnnnnnnn"] and problems["secret.wav"] == "encrypted"


def test_bombs_are_errors_that_name_the_limit(tmp_path):
    path = write(tmp_path / "a.zip", {f"{k}.wav": bytes(NUL) for k in range(200)})
    with pytest.raises(AudioRestorerError, match=r"0.2 GB when unpacked, the limit is 0.1 GB.*max_unpacked"):
        zipped.members(path, zipped.Bounds(1000, 10**8, 1e9))
    with pytest.raises(AudioRestorerError, match=r"times its size when unpacked \('0.wav' alone 1 MB\).*max_ratio"):
        zipped.members(path, BOUNDS)
    with pytest.raises(AudioRestorerError, match=r"200 files, the limit is 199.*max_files"):
        zipped.members(path, zipped.Bounds(199, 10**9, 1e9))
    assert len(zipped.members(path, zipped.Bounds(200, 10**9, 1e9))) == 200
    silence = write(tmp_path / "s.zip", {"silence.wav": bytes(NUL)})
    assert silence.stat().st_size * 500 < NUL and zipped.members(silence, BOUNDS)[0].problem is None


def test_members_that_share_their_bytes_are_a_bomb(tmp_path):
    path = write(tmp_path / "a.zip", {"a.wav": b"1" * 50, "b.wav": b"2" * 50}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    second = content.rfind(b"b.wav") - 46
    struct.pack_into("<I", content, second + 42, 0)
    path.write_bytes(content)
    with pytest.raises(AudioRestorerError, match="overlaps another member"):
        zipped.members(path, BOUNDS)


@pytest.mark.parametrize("declared", [10, 5_000_000])
def test_a_header_that_lies_about_the_size_is_found_and_bounds_what_is_read(tmp_path, declared):
    path = write(tmp_path / "a.zip", {"a.wav": bytes(NUL)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.find(signature) + offset, declared)
    path.write_bytes(content)
    with zipped.opened(path, 10) as archive, pytest.raises(AudioRestorerError, match="a.wav: damaged in the archive"):
        zipped.extract(archive, "a.wav", tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= max(declared, NUL)


def test_flipped_bits_are_found(tmp_path):
    path = write(tmp_path / "a.zip", {"a.wav": b"sound" * 1000}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with zipped.opened(path, 10) as archive, pytest.raises(AudioRestorerError, match="a.wav: damaged.*CRC"):
        zipped.extract(archive, "a.wav", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"PK\x03\x04" * 99, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_zip_says_so(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(AudioRestorerError, match="a.zip: "):
        zipped.members(tmp_path / "a.zip", BOUNDS)


def test_every_cut_of_an_archive_is_an_error_or_whole(tmp_path):
    whole = write(tmp_path / "a.zip", {"a.wav": b"sound" * 20, "b.wav": b"more"}).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(AudioRestorerError):
            zipped.members(tmp_path / "cut.zip", BOUNDS)


def test_a_directory_of_millions_is_refused_before_it_is_read(tmp_path):
    """A lying size field: 3 GB of directory, in a sparse file."""
    path = tmp_path / "a.zip"
    size = 3_000_000_000
    with open(path, "wb") as file:
        file.seek(size)
        file.write(b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 65535, 65535, size, 0, 0))
    with pytest.raises(AudioRestorerError, match="too many files"):
        zipped.members(path, BOUNDS)


def test_zip64_is_read(tmp_path):
    path = write(tmp_path / "a.zip", {f"{k}.wav": b"" for k in range(65_600)}, zipfile.ZIP_STORED)
    assert len(zipped.members(path, zipped.Bounds(70_000, 10**9, 100))) == 65_600
    with pytest.raises(AudioRestorerError, match="65600 files"):
        zipped.members(path, zipped.Bounds(65_000, 10**9, 100))
