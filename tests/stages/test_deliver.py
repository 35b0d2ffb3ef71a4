"""Archives are checked with the tools that a receiver has: unzip, tar, zstd and sha256sum."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from audiorestorer.config import DeliverSettings, bytes_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.stages.batch import deliver
from audiorestorer.store import sha256_file
from tests.test_windows_names import unfit

NAMES = ["a/b c.wav", "ünï/$(touch x).wav", "plain.wav", "back\\slash.wav", "long/" + "x" * 180 + ".wav", "-dash.wav"]
SIZE = 40_000


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [Item(id="bad", noisy="bad.wav", status="rejected", reason="empty")]
    for number, name in enumerate(NAMES):
        path = tmp_path / "store/loudness/ab" / f"ab{number}.output.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = np.random.default_rng(number).bytes(SIZE + number)
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        rows.append(
            Item(id=f"i{number}", noisy=name, relative=name, output=name, path=str(path), sha256=digest, sr=16000)
        )
    write_manifest(tmp_path / "m.jsonl", rows)
    return tmp_path / "m.jsonl"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    record = {"name": "net", "kind": "dns64", "licence": "CC-BY-NC-4.0", "digest": "ab" * 32}
    (tmp_path / "net.json").write_text(json.dumps(record))
    return tmp_path / "net.json"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unpack(archive: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    if archive.suffix == ".zip":
        run("unzip", "-q", "-o", archive, cwd=target)
    elif shutil.which("zstd"):
        run("tar", "--zstd", "-xf", archive, cwd=target)
    else:
        pytest.skip("no zstd program on this machine")


@pytest.mark.parametrize("kind", ["zip", "tar.zst"])
def test_standard_tools_unpack_and_verify_it_and_its_bytes_are_reproducible(manifest, model, tmp_path, kind):
    extra = tmp_path / "summary.md"
    extra.write_text("# summary")
    settings = DeliverSettings(format=kind, windows_names="keep")
    for folder in ("one", "two"):
        deliver.run([manifest], tmp_path / folder, settings, [extra], [model])
    archive = tmp_path / f"one/cleaned.{kind}"
    assert archive.read_bytes() == (tmp_path / f"two/cleaned.{kind}").read_bytes()
    assert run("sha256sum", "-c", "cleaned.sha256", cwd=tmp_path / "one") == f"cleaned.{kind}: OK\n"
    unpack(archive, tmp_path / "x")
    root = tmp_path / "x/cleaned"
    assert run("sha256sum", "-c", "SHA256SUMS", cwd=root).count(": OK") == len(NAMES) + 4
    assert {str(path.relative_to(root)) for path in root.rglob("*.wav")} == set(NAMES)
    rows = {row["path"]: row for row in map(json.loads, (root / "manifest.jsonl").read_text().splitlines())}
    assert set(rows) == set(NAMES)
    for name, row in rows.items():
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == row["sha256"] and row["relative"] == name
    assert json.loads((root / "rejected.jsonl").read_text()) == {"input": "bad.wav", "reason": "empty"}
    licences = (root / "LICENCES.md").read_text()
    assert "net" in licences and "No commercial use" in licences


@pytest.mark.parametrize("kind", ["zip", "tar.zst"])
def test_parts_stay_below_the_limit_and_each_is_complete(manifest, tmp_path, kind):
    limit = 125_000
    deliver.run(
        [manifest], tmp_path / "out", DeliverSettings(format=kind, max_size=str(limit), windows_names="keep"), [], []
    )
    parts = sorted((tmp_path / "out").glob(f"*.{kind}"))
    assert [part.name for part in parts] == [f"cleaned.{n:03d}.{kind}" for n in (1, 2, 3)]
    assert all(part.stat().st_size <= limit for part in parts)
    assert run("sha256sum", "-c", "cleaned.sha256", cwd=tmp_path / "out").count(": OK") == 3
    for number, part in enumerate(parts, 1):
        alone = tmp_path / f"alone{number}"
        unpack(part, alone)
        run("sha256sum", "--quiet", "-c", f"SHA256SUMS.{number:03d}", cwd=alone / "cleaned")
        unpack(part, tmp_path / "all")
        assert (alone / "cleaned/LICENCES.md").is_file()
    assert {str(p.relative_to(tmp_path / "all/cleaned")) for p in (tmp_path / "all").rglob("*.wav")} == set(NAMES)
    deliver.run([manifest], tmp_path / "out", DeliverSettings(format=kind), [], [])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cleaned.sha256", f"cleaned.{kind}"]


def test_the_bound_holds_for_any_sizes(tmp_path):
    """Many small members with names of all lengths: headers and lists weigh more than content."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(300):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(rng.bytes(int(rng.integers(0, 2000))))
        name = "ü" * int(rng.integers(1, 100)) + f"{number}.wav"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(Item(id=str(number), noisy=name, relative=name, output=name, path=str(path), sha256=digest))
    write_manifest(tmp_path / "m.jsonl", rows)
    for kind in ("zip", "tar.zst"):
        deliver.run([tmp_path / "m.jsonl"], tmp_path / kind, DeliverSettings(format=kind, max_size="100kB"), [], [])
        parts = list((tmp_path / kind).glob("cleaned.*.*"))
        assert len(parts) > 3 and max(part.stat().st_size for part in parts) <= 100_000


def test_what_is_missing_damaged_or_too_large_is_named_and_the_old_delivery_stays(manifest, tmp_path):
    out = tmp_path / "out"
    deliver.run([manifest], out, DeliverSettings(), [], [])
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(AudioRestorerError, match="-dash.wav: 0.0 MB do not fit into a part of 50kB"):
        deliver.run([manifest], out, DeliverSettings(max_size="50kB"), [], [])
    damaged = tmp_path / "store/loudness/ab/ab1.output.wav"
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    with pytest.raises(AudioRestorerError, match="ab1.*damaged or edited.*store verify"):
        deliver.run([manifest], out, DeliverSettings(), [], [])
    damaged.unlink()
    with pytest.raises(AudioRestorerError, match="ab1.*missing.*store verify"):
        deliver.run([manifest], out, DeliverSettings(), [], [])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("kind", ["zip", "tar.zst"])
def test_memory_does_not_grow_with_a_file(tmp_path, kind):
    rows = []
    for name, size in (("small", 1000), ("large", 300_000_000)):
        path = tmp_path / f"{name}.wav"
        with open(path, "wb") as file:
            file.truncate(size)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        write_manifest(
            tmp_path / f"{name}.jsonl", [Item(id="x", noisy="x", output="x.wav", path=str(path), sha256=digest)]
        )
        rows.append(tmp_path / f"{name}.jsonl")
    program = (
        "import sys; from pathlib import Path; from audiorestorer.config import DeliverSettings;"
        "from audiorestorer.stages.batch import deliver;"
        f"deliver.run([Path(sys.argv[1])], Path(sys.argv[2]), DeliverSettings(format={kind!r}), [], []);"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    small, large = (
        int(run(sys.executable, "-c", program, row, tmp_path / row.stem, cwd=Path(__file__).parents[2])) for row in rows
    )
    assert large - small < 20_000  # kB


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("2.5 gb", 2_500_000_000), ("1GiB", 2**30), ("7", 7)]
)
def test_sizes_as_people_write_them(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1GB", "2 PB", "GB", "1e9", "0.5"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size"):
        bytes_of(text)


HOSTILE = [
    "what? (12:30).wav",
    "new\nline.wav",
    "CON.wav",
    "A.wav",
    "a.wav",
    "a|b.wav",
    "a_b.wav",
    "take 1. /one.wav",
    "plain.wav",
]


def finished(folder: Path, names: list[str]) -> Path:
    """A manifest of files whose content is their name."""
    rows = []
    for number, name in enumerate(names):
        path = folder / f"{number}.wav"
        path.write_text(name)
        rows.append(
            Item(id=str(number), noisy=name, relative=name, output=name, path=str(path), sha256=sha256_file(path))
        )
    write_manifest(folder / "h.jsonl", rows)
    return folder / "h.jsonl"


@pytest.mark.parametrize("kind", ["zip", "tar.zst"])
@pytest.mark.parametrize("limit", [None, "29kB"])
def test_names_that_windows_cannot_hold_are_changed_and_listed(tmp_path, kind, limit):
    names = HOSTILE + [f"{'f' * 150}/{'n' * 150}.wav"]
    settings = DeliverSettings(format=kind, max_size=limit)
    deliver.run([finished(tmp_path, names)], tmp_path / "out", settings, [], [])
    for part in sorted((tmp_path / "out").glob(f"*.{kind}")):
        unpack(part, tmp_path / "x")
    root = tmp_path / "x/cleaned"
    for sums in root.glob("SHA256SUMS*"):
        run("sha256sum", "--quiet", "-c", sums.name, cwd=root)
    found = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.wav")}
    assert set(found.values()) == set(names) and not [name for name in found if unfit(name)]
    assert (
        found["plain.wav"] == "plain.wav" and found["a_b.wav"] == "a_b.wav" and found["take 1__/one.wav"] == HOSTILE[7]
    )
    assert len({name.casefold() for name in found}) == len(names)
    with open(root / "names.tsv", encoding="utf-8", newline="") as file:
        table = {row["name"]: row["original"] for row in csv.DictReader(file, dialect="excel-tab")}
    assert table == {name: content for name, content in found.items() if name != content} and len(table) == 7
    rows = [json.loads(line) for path in root.glob("manifest*.jsonl") for line in path.read_text().splitlines()]
    assert {row["path"]: row.get("original", row["path"]) for row in rows} == found
    assert {row["path"]: row["relative"] for row in rows} == found


def test_names_are_kept_and_named_where_that_is_asked_for(tmp_path, caplog):
    deliver.run([finished(tmp_path, HOSTILE)], tmp_path / "out", DeliverSettings(windows_names="keep"), [], [])
    with zipfile.ZipFile(tmp_path / "out/cleaned.zip") as archive:
        assert {f"cleaned/{name}" for name in HOSTILE} <= set(archive.namelist())
        assert "cleaned/names.tsv" not in archive.namelist()
    assert "Windows cannot unpack 6 names" in caplog.text and "'CON.wav'" in caplog.text


def test_a_folder_of_the_input_gives_way_to_the_archive_s_own_files(tmp_path):
    names = ["manifest.jsonl/x.wav", "licences.MD/x.wav", "SHA256SUMS.001/x.wav"]
    deliver.run([finished(tmp_path, names)], tmp_path / "out", DeliverSettings(), [], [])
    unpack(tmp_path / "out/cleaned.zip", tmp_path / "x")
    run("sha256sum", "--quiet", "-c", "SHA256SUMS", cwd=tmp_path / "x/cleaned")
    assert {path.read_text() for path in (tmp_path / "x").rglob("*.wav")} == set(names)


@pytest.mark.parametrize("kind", ["zip", "tar.zst"])
def test_an_archive_that_is_none_of_ours_is_neither_replaced_nor_cleared_away(tmp_path, kind):
    """Somebody's recordings beside the delivery, packed under its name."""
    manifest, out = finished(tmp_path, ["a.wav"]), tmp_path / "out"
    settings = DeliverSettings(format=kind)
    deliver.run([manifest], out, settings, [], [])
    packed = (out / f"cleaned.{kind}").read_bytes()
    for name in (f"cleaned.007.{kind}", f"cleaned.{kind}"):
        with zipfile.ZipFile(out / name, "w") as archive:
            archive.writestr("cleaned/a.wav", b"the only copy")
    theirs = (out / f"cleaned.{kind}").read_bytes()
    with pytest.raises(AudioRestorerError, match=rf"cleaned.{kind}: no delivery of this project"):
        deliver.run([manifest], out, settings, [], [])
    assert (out / f"cleaned.{kind}").read_bytes() == theirs
    (out / f"cleaned.{kind}").unlink()
    deliver.run([manifest], out, settings, [], [])
    assert (out / f"cleaned.{kind}").read_bytes() == packed and (out / f"cleaned.007.{kind}").read_bytes() == theirs


@pytest.mark.parametrize("name", ["con", "NUL", "com1"])
def test_an_archive_is_not_called_as_a_device_of_windows(name):
    with pytest.raises(ValueError, match="device on Windows"):
        DeliverSettings(name=name)
