"""Folders that overlap: what is only read is never written over, into or around, however the paths are spelled."""

from __future__ import annotations

import os
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import event, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from audiorestorer import folders
from audiorestorer.__main__ import app
from audiorestorer.config import Config, DeliverSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.folders import keep_apart, keep_inputs, keep_rows_apart, keep_run_apart
from audiorestorer.intake.listing import scanned
from audiorestorer.intake.pairs import companions
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.stages import ingest, publish
from audiorestorer.stages.batch import deliver
from audiorestorer.store import Store, key_of, sha256_file

RATE = 8000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recordings(folder: Path, *names: str) -> None:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(folder / name, 0.1 * np.sin(np.arange(2000) * (0.1 + 0.01 * index)), RATE)


def check(**settings: object) -> None:
    config = Config.model_validate(settings)
    keep_run_apart(config, *companions(config))


def refused(match: str, **settings: object) -> None:
    with pytest.raises(AudioRestorerError, match=match) as found:
        check(**settings)
    assert "\n" not in str(found.value) and "choose another" in str(found.value)


def test_the_defaults_and_usual_layouts_pass(here: Path) -> None:
    recordings(here, "rec/a.wav", "clean/a.wav", "old/output/a.wav")
    check(input="rec")
    check(input="rec", output="cleaned", artifacts="work", store="../store")
    check(input="rec", output="cleaned", artifacts="cleaned/work")
    check(input="rec", output="recordings", artifacts="rec2")
    check(input="old/output")
    check(input="rec", store="artifacts/my_store")


def test_an_output_over_in_or_around_what_is_read_is_refused(here: Path) -> None:
    recordings(here, "rec/sub/a.wav", "clean/a.wav")
    (here / "link").symlink_to("rec")
    (here / "into").symlink_to("rec/sub")
    for output in ("rec", "./rec/", "link", str(here / "rec"), "clean/../rec", str(here / "link/.")):
        refused(r"^output \(.*\) is the same as input \(rec\)", input="rec", output=output)
    for output in ("rec/cleaned", "link/cleaned", "into/x/y", str(here / "rec/sub")):
        refused(r"^output \(.*\) lies in input", input="rec", output=output)
    refused(r"^output \(\.\) holds input \(rec\)", input="rec", output=".")
    refused("^output .* is the same as input", input="link", output="rec")
    refused(r"^artifacts \(rec/art\) lies in input", input="rec", artifacts="rec/art")
    refused("^store .* lies in input", input="rec", store="link/store")
    refused("^output .* is the same as references", input="rec", output="clean")
    refused("^output .* lies in references", input="rec", references="clean", output="clean/x")
    refused("^output .* is the same as training.noisy", input="rec", training={"noisy": "n"}, output="n")
    refused("^store .* holds enhancer_training.data", input="rec", enhancer_training={"data": "s/voices"}, store="s")


def test_an_output_that_the_next_run_would_take_for_references_is_refused(here: Path) -> None:
    recordings(here, "data/rec/a.wav")
    refused("^output .* is the same as references", input="data/rec", output="data/clean")
    check(input="data/rec", output="data/clean", references=None)


def test_what_is_written_is_not_mixed(here: Path) -> None:
    recordings(here, "rec/a.wav")
    refused("^output .* is the same as artifacts", input="rec", output="artifacts", store="s")
    refused("^output .* is the same as artifacts' manifests", input="rec", output="artifacts/manifests")
    refused("^output .* lies in store", input="rec", output="artifacts/store/x")
    refused("^store .* is the same as artifacts' report", input="rec", store="artifacts/report")
    refused("^artifacts .* lies in store", input="rec", store="s", artifacts="s/run")


def test_an_input_of_this_runs_own_artifacts_is_refused(here: Path) -> None:
    recordings(here, "artifacts/output/a.wav")
    refused("^output .* is the same as input", input="artifacts/output")
    refused("^artifacts .* holds input", input="artifacts/output", output="o")
    check(input="artifacts/output", output="o", artifacts="second")


def test_a_zip_is_read_only_too(here: Path) -> None:
    (here / "artifacts/delivery").mkdir(parents=True)
    (here / "artifacts/delivery/cleaned.zip").write_bytes(b"PK\5\6" + bytes(18))
    (here / "in.zip").write_bytes(b"PK\5\6" + bytes(18))
    (here / "here.zip").symlink_to("in.zip")
    check(input="in.zip", output="in")
    refused("^output .* is the same as input", input="in.zip", output="in.zip")
    refused("^output .* is the same as input", input="in.zip", output="here.zip")
    refused("^artifacts .* holds input", input="artifacts/delivery/cleaned.zip", output="o")


def test_letter_case_counts_as_the_disk_takes_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings(here, "rec/a.wav")
    check(input="rec", output="REC2/x", artifacts="rec2")
    check(input="rec", output="work/Store/x", artifacts="work")
    monkeypatch.setattr(folders, "_folds_case", lambda folder: True)
    refused("^output .* lies in store", input="rec", output="work/Store/x", artifacts="work")
    with pytest.raises(AudioRestorerError, match="would replace this input"):
        keep_inputs([here / "rec/A.WAV"], [here / "rec/a.wav"])


def test_this_disk_is_asked(here: Path) -> None:
    recordings(here, "rec/a.wav")
    assert folders._folds_case(here / "rec") == os.path.exists(here / "REC")
    (here / "other").mkdir()
    (here / "other/A").symlink_to("a")
    (here / "other/a").write_text("")
    assert not folders._folds_case(here / "other") or os.path.exists(here / "REC")


def test_a_manifest_may_lie_beside_what_is_made_of_it_but_not_be_replaced(here: Path) -> None:
    (here / "m.jsonl").write_text("{}\n")
    keep_apart({"--in": "m.jsonl"}, {"--out": "."})
    with pytest.raises(AudioRestorerError, match="--out .* is the same as --in"):
        keep_apart({"--in": "m.jsonl"}, {"--out": "./m.jsonl"})


def test_rows_say_where_their_originals_lie(here: Path) -> None:
    recordings(here, "rec/deep/a.wav", "clean/deep/a.flac", "s/ingest/ab/k.12345678.input.wav")
    rows = [
        Item(id="a", noisy="rec/deep/a.wav", clean=str(here / "clean/deep/a.flac"), relative="deep/a.wav"),
        Item(id="b", noisy="s/ingest/ab/k.12345678.input.wav", relative="b.wav"),
    ]
    keep_rows_apart(rows, {"--output": "out"}, here / "s")
    for output, name in (
        ("rec", "is the same as the recordings"),
        ("clean/x", "lies in the references"),
        (".", "holds"),
    ):
        with pytest.raises(AudioRestorerError, match=name):
            keep_rows_apart(rows, {"--output": output}, here / "s")


def test_a_row_of_an_archive_s_absolute_name_keeps_nothing_from_being_written(here: Path) -> None:
    recordings(here, "rec/a.wav")
    absolute = str(here / "rec/a.wav")
    with zipfile.ZipFile(here / "in.zip", "w") as archive:
        for name in ("ok.wav", "/a.wav", absolute):
            archive.writestr(name, (here / "rec/a.wav").read_bytes())  # `write` takes a leading slash away
    config = Config.model_validate({"input": "in.zip", "shards": 1, "references": None, "transcripts": None})
    rows = ingest.run(here / "art/0.jsonl", config, 0, here / "store")
    assert {row.relative: row.ok for row in rows} == {"ok.wav": True, "/a.wav": False, absolute: False}
    assert all("leads out" in (row.reason or "") and row.noisy.startswith("in.zip/") for row in rows if not row.ok)
    keep_rows_apart(rows, {"--output": "rec"}, here / "store")
    keep_rows_apart([Item(id="a", noisy="/a.wav", relative="/a.wav")], {"--output": "out"})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("audit-stems --root rec --csv rec/a.csv", "--csv (rec/a.csv) lies in --root (rec)"),
        ("audit-stems --root rec --figure link/deep/b.wav", "--figure (link/deep/b.wav) lies in --root"),
        ("filter-noise --root rec --out rec/n.jsonl", "--out (rec/n.jsonl) lies in --root"),
        ("analyse-degradation rec --out-csv x.csv --out-json rec/x.json", "--out-json (rec/x.json) lies in IN rec"),
        ("analyse-degradation m.jsonl --out-csv m.jsonl", "--out-csv (m.jsonl) is the same as IN m.jsonl"),
        ("build-manifest --root rec --layout folder --out link/t.jsonl", "--out (link/t.jsonl) lies in --root"),
        ("build-manifest --root clean --out t.jsonl", "--render (clean) is the same as --root"),
        ("train --config e.yaml --data rec --out rec/m.safetensors", "--out (rec/m.safetensors) lies in --data"),
        ("train --config e.yaml --data rec --out m.safetensors --work rec", "--work (rec) is the same as --data"),
        ("train --config e.yaml --manifest m.jsonl --out m.jsonl", "--out (m.jsonl) is the same as --manifest"),
        ("train-enhancer --config e.yaml --data rec/deep --out o --work rec", "--work (rec) holds --data"),
        ("join-enhancer m.jsonl m.jsonl m.jsonl --out m.jsonl", "--out (m.jsonl) is the same as CHECKPOINT"),
        ("evaluate-model m.jsonl --data rec --out rec/x.json", "--out (rec/x.json) lies in --data"),
        ("export-onnx --checkpoint m.jsonl --out ./m.jsonl", "--out (m.jsonl) is the same as --checkpoint"),
        ("profile-infer --checkpoint m.jsonl --out m.jsonl", "--out (m.jsonl) is the same as --checkpoint"),
        ("register-model --checkpoint m.jsonl --name n --registry m.jsonl", "--registry (m.jsonl) is the same as --checkpoint"),
        ("make-degraded --out rec/d --speech rec", "--out (rec/d) lies in --speech"),
        ("evaluate-restorer m.jsonl --method input --out m.jsonl", "--out (m.jsonl) is the same as TEST_MANIFEST"),
        ("evaluate-enhancer rec --out rec/q --checkpoint m.jsonl", "--out (rec/q) lies in SPEECH_DIR"),
        ("sanity-suite --manifest m.jsonl --json m.jsonl", "--json (m.jsonl) is the same as --manifest"),
        pytest.param("infer-batch --in rec --checkpoint m.jsonl --out rec/o", "--out (rec/o) lies in --in", marks=pytest.mark.torch),
        ('ingest rec/0.jsonl --config {"input":"rec"}', "OUT_MANIFEST (rec/0.jsonl) lies in input"),
        ('ingest o.jsonl --config {"input":"rec"} --store rec/s', "--store (rec/s) lies in input"),
        ("publish rows.jsonl p.jsonl --output rec", "--output (rec) is the same as the recordings (rec)"),
        ("publish rows.jsonl p.jsonl --output link/o", "--output (link/o) lies in the recordings (rec)"),
        ("deliver rows.jsonl --out rec/deep", "--out (rec/deep) lies in the recordings"),
        ("separate rows.jsonl rows.jsonl --config {\"name\":\"a\",\"model\":\"m\"}", "(rows.jsonl) is the same as IN_MANIFEST"),
        ("loudness rows.jsonl rec/a.wav --config {}", "OUT_MANIFEST (rec/a.wav) lies in the recordings"),
        ("collect rows.jsonl --json rec/a.wav --csv x.csv", "--json (rec/a.wav) lies in the recordings"),
    ],
)  # fmt: skip
def test_every_command_refuses(here: Path, line: str, message: str) -> None:
    recordings(here, "rec/a.wav", "rec/deep/b.wav", "clean/a.wav")
    (here / "link").symlink_to("rec")
    for name in ("m.jsonl", "e.yaml"):
        (here / name).write_text("{}\n")
    write_manifest(
        here / "rows.jsonl", [Item(id="a", noisy="rec/a.wav", relative="a.wav", output="a.wav", path="rec/a.wav")]
    )
    before = state(here)
    done = CliRunner().invoke(app, line.split())
    assert isinstance(done.exception, AudioRestorerError) and message in str(done.exception), done
    assert state(here) == before


READ = ("rec", "rec/deep", "link", "deep_link", "out", "art/output", "clean")
FORMS = ("{}", "./{}", "{}/", "out/../{}", "/{}", "{}/../{}")


def spots(*names: str) -> st.SearchStrategy[tuple[str, str]]:
    return st.tuples(st.sampled_from(names), st.sampled_from(FORMS))


def written(*fresh: str) -> st.SearchStrategy[tuple[str, str]]:
    """Mostly places of its own, so that enough layouts are possible ones."""
    taken = spots(*READ, "rec/new", "link/new", "work", "work/store", ".", "up", "up/base/rec")
    return st.integers(0, 5).flatmap(lambda dice: spots(*fresh) if dice else taken)


def spelled(base: Path, chosen: tuple[str, str]) -> str:
    name, form = chosen
    if form == "/{}":
        return str(base / name)
    return form.format(name) if form != "{}/../{}" else f"{name}/../{Path(name).name or '.'}"


def state(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder, and what its links lead to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = (
            os.readlink(path) if path.is_symlink() else sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        )
    return found


def one_run(config: Config) -> None:
    """What a run does to its folders: ingest, a finished file for each recording, publish, an archive."""
    artifacts, store = Path(config.artifacts), Path(config.store or f"{config.artifacts}/store")
    rows = []
    for item in ingest.run(artifacts / "manifests/ingest/0.jsonl", config, 0, store):
        folder = Store(store, "loudness")
        with folder.scratch() as scratch:
            made = scratch / "made.wav"
            sf.write(made, np.zeros(500), RATE)
            entry = folder.put(key_of(id=item.id), {"made.wav": made}, {})
        path = entry.files["made.wav"]
        rows.append(item.updated(path=str(path), sha256=sha256_file(path)))
    loudness = artifacts / "manifests/loudness/0.jsonl"
    write_manifest(loudness, rows)
    published = publish.run(loudness, artifacts / "manifests/publish/0.jsonl", Path(config.output), [], store)
    assert all(item.ok for item in published)
    deliver.run([loudness], artifacts / "delivery", DeliverSettings(), [], [])


@settings(max_examples=25, deadline=None)
@given(
    source=spots(*READ),
    output=written("cleaned", "through/cleaned", "work/output", "work/o/deep"),
    artifacts=written("work", "fresh", "cleaned/work"),
    store=st.none() | written("shared", "through/shared", "work/other"),
    references=st.sampled_from([None, "auto"]) | spots("clean", "out"),
)
def test_no_byte_of_an_input_changes(
    source: tuple[str, str], output: tuple[str, str], artifacts: tuple[str, str], store: tuple[str, str] | None,
    references: tuple[str, str] | str | None,
) -> None:  # fmt: skip
    """Random layouts: each is refused, or two runs leave input and references as they were and read the same files."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve() / "base"
        recordings(
            base, "rec/a.wav", "rec/deep/b.wav", "clean/a.wav", "clean/deep/b.wav", "art/output/c.wav", "out/d.wav"
        )
        (base / "link").symlink_to("rec")
        (base / "deep_link").symlink_to(base / "rec/deep")
        (base / "up").symlink_to("..")
        (base / "through").symlink_to("fresh")
        (base / "fresh").mkdir()
        os.chdir(base)
        try:
            where = {
                "input": source,
                "output": output,
                "artifacts": artifacts,
                "store": store,
                "references": references,
            }
            texts = {key: spelled(base, value) if isinstance(value, tuple) else value for key, value in where.items()}
            config = Config.model_validate({**texts, "shards": 1, "transcripts": None})
            try:
                clean, _ = companions(config)
                files = [file.relative for file in scanned(config).files]
                keep_run_apart(config, clean, None)
            except AudioRestorerError as error:
                assert "\n" not in str(error)
                event("refused")
                return
            event("run")
            read = [Path(config.input), *([clean] if clean else [])]
            kept = [state(folder) for folder in read]
            for _ in range(2):
                one_run(config)
                assert [state(folder) for folder in read] == kept
                assert [file.relative for file in scanned(config).files] == files
            assert len(read_manifest(Path(config.artifacts) / "manifests/publish/0.jsonl")) == len(files)
        finally:
            os.chdir(before)
