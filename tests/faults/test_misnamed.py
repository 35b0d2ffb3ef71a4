"""Names that are no UTF-8, through every command that lists files itself: a rejected row or a clear message, and the rest goes on.

The real commands, each in a process of its own (`workbench`), on tiny models. Ingest has its own test in `test_names.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets.training_manifest import Row
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, read_rows, write_rows
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.names import as_text, is_text
from tests.datasets.test_stems import NAMES as STEMS
from tests.datasets.test_stems import write_track
from tests.faults.workbench import RATE, Ended, Workbench
from tests.tiny_models import write_tiny_enhancer, write_tiny_mask_unet

GOOD = ("good.wav", "deep/\U0001f600 two.wav")
BAD = {os.fsdecode(name): shown for name, shown in (
    (b"bad\xff.wav", r"bad\xff.wav"), (b"\xc3\x28.wav", r"\xc3(.wav"), (b"folder\xfe/x.wav", r"folder\xfe/x.wav"),
)}  # fmt: skip
RENAME = "its name is not UTF-8: rename it"


def write_recordings(folder: Path, seed: int = 0) -> None:
    """Two seconds of noise under every name."""
    for number, name in enumerate((*GOOD, *BAD)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = folder / "plain.wav"  # libsndfile's binding takes no other name
        sf.write(plain, 0.05 * np.random.default_rng((seed, number)).standard_normal(2 * RATE), RATE)
        plain.rename(path)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    folder = tmp_path_factory.mktemp("misnamed") / "w"
    write_recordings(folder / "in")
    write_recordings(folder / "pairs/clean", 1)
    write_recordings(folder / "pairs/noisy", 2)
    for number in (1, 2, 3):
        write_track(folder / "stems" / f"t{number}", seed=number)
    (folder / "stems/t3").rename(folder / "stems" / os.fsdecode(b"t\xff"))
    write_tiny_mask_unet(folder / "m.safetensors", "denoise")
    write_tiny_enhancer(folder / "e.safetensors")
    yield Workbench(folder)


def done(bench: Workbench, *command: str) -> Ended:
    ended = bench.run(commands=[list(command)])
    assert ended.code == 0 and "Traceback" not in ended.text, ended.text[-3000:]
    return ended


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("restore", ["--checkpoint", "m.safetensors"]),
        ("enhance-folder", ["--checkpoint", "e.safetensors", "--no-gate", "--nfe", "2", "--solver", "euler"]),
    ],
)
def test_a_folder_of_recordings(bench: Workbench, command: str, options: list[str]) -> None:
    out, stage = bench.folder / command, command.removesuffix("-folder")
    done(bench, command, "in", command, *options, "--device", "cpu", "--store", "store")
    rows = {str(row.relative): row for row in read_manifest(out / f"{stage}.jsonl")}
    assert set(rows) == {*GOOD, *BAD.values()}
    assert all(rows[name].ok and sf.info(out / name).frames == 2 * RATE for name in GOOD)
    assert all(rows[name].reason == f"{stage}: in/{name}: {RENAME}" for name in BAD.values())
    assert len(list(out.rglob("*.wav"))) == len(GOOD)


def test_infer_batch(bench: Workbench) -> None:
    done(
        bench, "infer-batch", "--in", "in", "--checkpoint", "m.safetensors", "--out", "inferred", "--metrics", "m.csv",
        "--device", "cpu",
    )  # fmt: skip
    rows = {row["input"]: row for row in read_csv(bench.folder / "m.csv")}
    assert {name: rows[f"in/{name}"]["status"] for name in GOOD} == dict.fromkeys(GOOD, "ok")
    assert all(rows[f"in/{name}"]["reason"] == f"in/{name}: {RENAME}" for name in BAD.values())
    assert len(rows) == len(GOOD) + len(BAD) and len(list((bench.folder / "inferred").rglob("*.wav"))) == len(GOOD)


def test_filter_noise(bench: Workbench) -> None:
    done(bench, "filter-noise", "--root", "in", "--out", "noise.jsonl", "--csv", "noise.csv")
    rows = {row["path"]: row for row in read_csv(bench.folder / "noise.csv")}
    assert set(rows) == {*GOOD, *BAD.values()}
    assert all(rows[name]["kept"] == "1" for name in GOOD)
    assert all(rows[name]["reason"] == f"in/{name}: {RENAME}" for name in BAD.values())
    assert len((bench.folder / "noise.jsonl").read_text().splitlines()) == len(GOOD)


def test_analyse_degradation(bench: Workbench) -> None:
    done(bench, "analyse-degradation", "in", "--out-csv", "d.csv", "--out-json", "d.json")
    rows = {row["path"]: row for row in read_csv(bench.folder / "d.csv")}
    assert {name: row["status"] for name, row in rows.items()} == {
        **dict.fromkeys(GOOD, "ok"), **dict.fromkeys(BAD.values(), "rejected"),
    }  # fmt: skip
    assert all(RENAME in rows[name]["reason"] for name in BAD.values())


def test_audit_stems_and_the_manifest_of_stems(bench: Workbench) -> None:
    done(bench, "audit-stems", "--root", "stems", "--csv", "audit.csv")
    rows = {row["track"]: row for row in read_csv(bench.folder / "audit.csv")}
    assert {name: row["status"] for name, row in rows.items()} == {"t1": "ok", "t2": "ok", r"t\xff": "failed"}
    assert rows[r"t\xff"]["reasons"].count(RENAME) == len(STEMS) + 1  # and the mixture
    for audited in ([], ["--audit", "audit.csv"]):
        text = done(bench, "build-manifest", "--root", "stems", "--out", "stems.jsonl", *audited).text
        assert "2 recordings" in text and "1 left out" in text
        assert audited or rf"t\xff/bass.wav: {RENAME}" in text


@pytest.mark.parametrize(("layout", "root", "parts"), [("folder", "in", "in"), ("pairs", "pairs", "pairs/clean")])
def test_build_manifest(bench: Workbench, layout: str, root: str, parts: str) -> None:
    text = done(bench, "build-manifest", "--root", root, "--layout", layout, "--out", f"{layout}.jsonl").text
    assert all(f"left out: {parts}/{name}: {RENAME}" in text for name in BAD.values())
    named = {row.clean for _, row in read_rows(bench.folder / f"{layout}.jsonl", Row)}
    assert named == {f"{parts}/{name}" for name in GOOD}


@pytest.mark.parametrize(
    "command", [["restore", "{}", "out", "--checkpoint", "m.safetensors"], ["restore", "in", "{}", "--checkpoint", "m.safetensors"],
                ["audit-stems", "--root", "{}"], ["ingest", "{}", "--config", "{{}}"]],
)  # fmt: skip
def test_an_argument_that_is_no_text_is_one_message(bench: Workbench, command: list[str]) -> None:
    name = os.fsdecode(b"bad\xff.wav")
    ended = bench.run(commands=[[part.replace("{}", name) for part in command]])
    assert ended.code == 2 and ended.text == "audiorestorer: bad\\xff.wav: not UTF-8: rename the file or folder\n"


def test_no_manifest_holds_what_no_reader_takes(tmp_path: Path) -> None:
    bad = next(iter(BAD))
    path = tmp_path / "m.jsonl"
    write_rows(path, [{"id": "a", "path": GOOD[1]}])
    before = path.read_bytes()
    with pytest.raises(AudioRestorerError, match=r"m\.jsonl: a row holds text that is not UTF-8.*bad\\xff\.wav"):
        write_rows(path, [{"id": "a", "path": bad}])
    rows = [Item(id="a", noisy="x", relative=GOOD[1])]
    with pytest.raises(AudioRestorerError, match=r"m\.jsonl: a row holds text that is not UTF-8.*bad\\xff\.wav"):
        write_manifest(path, [rows[0].updated(heard={"x": bad})])
    assert path.read_bytes() == before and not list(tmp_path.glob(".*"))
    write_manifest(path, rows)
    assert read_manifest(path) == rows
    path.write_bytes(b'{"id": "a", "noisy": "bad\xff.wav"}\n')
    with pytest.raises(AudioRestorerError, match="not UTF-8 text"):
        read_manifest(path)
    path.write_text('{"id": "a", "noisy": "bad\\udcff.wav"}\n')
    with pytest.raises(AudioRestorerError, match=r"m\.jsonl:1: row: Invalid JSON"):
        read_manifest(path)


def test_a_manifest_by_hand_with_such_names(bench: Workbench) -> None:
    """JSON can spell what is no text: an id ends the command, a recording is a rejected row."""
    manifest = bench.folder / "hand.jsonl"
    command = [
        "infer-batch",
        "--in",
        "hand.jsonl",
        "--checkpoint",
        "m.safetensors",
        "--out",
        "hand",
        "--metrics",
        "h.csv",
    ]
    manifest.write_text('{"id": "a\\udcff", "noisy": "in/good.wav"}\n')
    ended = bench.run(commands=[command])
    assert ended.code == 2 and r"hand.jsonl:1: id: 'a\\xff' is not UTF-8 text" in ended.text
    manifest.write_text('{"id": "a", "noisy": "in/bad\\udcff.wav"}\n{"id": "b", "noisy": "in/good.wav"}\n')
    done(bench, *command)
    assert [(row["id"], row["status"]) for row in read_csv(bench.folder / "h.csv")] == [("a", "rejected"), ("b", "ok")]


def test_shown_names() -> None:
    assert [as_text(name) for name in BAD] == list(BAD.values()) and not any(is_text(name) for name in BAD)
    assert all(as_text(name) == name and is_text(name) for name in GOOD)
    assert as_text("\ud800x") == r"\ud800x" and not is_text("\ud800x")
