"""Archives that lie: every one of them is read by the real code, within bounds."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import zipped

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


def raw_zip(
    path: Path, names: list[bytes], *, system: int = 0, flags: int = 0, extra: list[bytes] | None = None
) -> Path:
    """An archive whose members have exactly these bytes for names; each holds its number."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(len(names)):
            info = zipfile.ZipInfo(f"{number:08d}")
            info.create_system = system
            info.extra = extra[number] if extra else b""
            archive.writestr(info, str(number))
    content = path.read_bytes()
    for number, name in enumerate(names):
        for mark, at, flag in ((b"PK\x03\x04", 26, 6), (b"PK\x01\x02", 28, 8)):
            header = 30 if mark[2] == 3 else 46
            place = (
                content.rindex(f"{number:08d}".encode()) if mark[2] == 1 else content.index(f"{number:08d}".encode())
            )
            begin = place - header
            head = bytearray(content[begin:place])
            struct.pack_into("<H", head, at, len(name))
            struct.pack_into("<H", head, flag, flags)
            content = content[:begin] + bytes(head) + name + content[place + 8 :]
    return zip_with_right_offsets(path, content)


def zip_with_right_offsets(path: Path, content: bytes) -> Path:
    """The archive's directory brought up to date with where things are now."""
    changed, place, entry = bytearray(content), content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02")
    start = entry
    while content[entry : entry + 4] == b"PK\x01\x02":
        struct.pack_into("<I", changed, entry + 42, place)
        size, name, extra = (
            struct.unpack_from("<I", content, place + 18)[0],
            *struct.unpack_from("<HH", content, place + 26),
        )
        place += 30 + name + extra + size
        entry += 46 + sum(struct.unpack_from("<HHH", content, entry + 28))
    struct.pack_into("<II", changed, entry + 12, entry - start, start)
    path.write_bytes(changed)
    return path


def contents(path: Path, folder: Path) -> dict[str, str]:
    """What each member without a problem holds."""
    found = {}
    with zipped.opened(path, 1000) as archive:
        for member in zipped.members(path, BOUNDS):
            assert member.problem is None, member
            zipped.extract(archive, member.name, folder / "out")
            found[member.name] = (folder / "out").read_text()
    return found


@pytest.mark.parametrize("system", [0, 3, 10])
def test_windows_separators_keep_the_tree(tmp_path, system):
    path = raw_zip(tmp_path / "a.zip", [b"set\\a.wav", b"set\\sub\\b.wav", b"c.wav", b"set\\"], system=system)
    content = path.read_bytes()  # the folder's entry is empty
    assert content
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name in ("set\\", "set\\sub\\", "set\\a.wav", "set\\sub\\b.wav"):
            archive.writestr(zipfile.ZipInfo(name), "" if name.endswith("\\") else name)
    assert list(contents(tmp_path / "b.zip", tmp_path)) == ["set/a.wav", "set/sub/b.wav"]
    names = [member.name for member in zipped.members(path, BOUNDS)]
    assert names[:3] == ["c.wav", "set/a.wav", "set/sub/b.wav"]


def test_a_backslash_within_a_name_of_unix_stays(tmp_path):
    path = raw_zip(tmp_path / "a.zip", [b"set/a\\b.wav"], system=3)
    assert contents(path, tmp_path) == {"set/a\\b.wav": "0"}
    assert contents(raw_zip(tmp_path / "b.zip", [b"set/a\\b.wav"], system=0), tmp_path) == {"set/a/b.wav": "0"}


@pytest.mark.parametrize(
    "name",
    [
        b"..\\..\\x.wav",
        b"a\\..\\..\\x.wav",
        b"C:\\x.wav",
        b"\\\\server\\share\\x.wav",
        b"\\x.wav",
        b"a\\\\x.wav",
        b"a/..\\..\\x.wav",
    ],
)
def test_windows_paths_that_lead_out_are_problems(tmp_path, name):
    for system in (0, 3):
        found = zipped.members(raw_zip(tmp_path / "a.zip", [name, b"fine.wav"], system=system), BOUNDS)
        assert {member.name: bool(member.problem) for member in found} == {name.decode(): True, "fine.wav": False}


@pytest.mark.parametrize(
    ("codec", "names"),
    [
        ("cp932", ["新しいフォルダ/ソ.wav", "表示.wav"]),
        ("gb18030", ["朗读版.wav", "陰謀/二.wav"]),
        ("cp850", ["Größe.wav", "Übung/ä.wav"]),
        ("cp1252", ["Größe.wav", "Übung/ä.wav"]),
        ("cp866", ["Запись 1.wav", "Новая папка/шум.wav"]),
        ("cp949", ["녹음.wav", "회의/둘.wav"]),
        ("big5", ["錄音.wav", "會議/訪問.wav"]), ("utf-8", ["Größe.wav", "録音/表.wav"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("backslash", [False, True])
def test_names_in_an_old_code_page_keep_their_letters_and_their_tree(tmp_path, codec, names, backslash):
    raw = [(name.replace("/", "\\") if backslash else name).encode(codec) for name in names]
    path = raw_zip(tmp_path / "a.zip", raw)
    assert contents(path, tmp_path) == {name: str(number) for number, name in enumerate(names)}
    notes = [member.note for member in zipped.members(path, BOUNDS)]
    assert all(note and "read as" in note for note in notes) == (codec not in ("utf-8", "cp850"))


def test_a_unicode_extra_field_is_believed_where_it_belongs_to_the_name(tmp_path):
    def field(name: bytes, text: str) -> bytes:
        body = b"\1" + struct.pack("<I", zlib.crc32(name)) + text.encode()
        return struct.pack("<HH", 0x7075, len(body)) + body

    names = [b"\x83\x5c.wav", b"b.wav"]
    path = raw_zip(tmp_path / "a.zip", names, extra=[field(names[0], "ソ α.wav"), field(b"another", "no.wav")])
    assert contents(path, tmp_path) == {"ソ α.wav": "0", "b.wav": "1"}


def test_two_names_that_end_as_one_are_both_kept(tmp_path):
    path = raw_zip(tmp_path / "a.zip", [b"set/a.wav", b"set\\a.wav", b"set/b.wav"])
    found = contents(path, tmp_path)
    assert sorted(found.values()) == ["0", "1", "2"] and {"set/a.wav", "set/b.wav"} < found.keys()
    assert all(name.startswith("set/") and name.endswith(".wav") for name in found)
    assert contents(path, tmp_path) == found


def test_a_name_with_a_zero_byte_is_a_problem(tmp_path):
    found = zipped.members(raw_zip(tmp_path / "a.zip", [b"a.wav\0.exe", b"b.wav"]), BOUNDS)
    assert [bool(member.problem) for member in found] == [True, False]


def test_a_name_that_is_marked_as_utf8_and_is_not(tmp_path):
    with pytest.raises(
        AudioRestorerError, match=r"a\.zip: a member's name is marked as UTF-8 and is not: pack it anew"
    ):
        zipped.members(raw_zip(tmp_path / "a.zip", [b"\x83\x5c.wav"], flags=0x800), BOUNDS)
