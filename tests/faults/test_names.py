"""Hostile names through ingest and all stages to the output folder, tables, pages and manifests: each file is kept apart."""

from __future__ import annotations

import csv
import json
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiorestorer import audio
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import cell, plain_cell, read_csv, write_csv
from audiorestorer.manifest import read_manifest, write_manifest
from audiorestorer.report import blind, listening, results
from audiorestorer.report.summary import summary_markdown
from audiorestorer.stages import ingest
from audiorestorer.stages.batch import collect
from tests.faults import containers
from tests.faults.chain import Chain
from tests.faults.names import HOSTILE_FILES, NOT_TEXT, OTHER_FORMATS
from tests.report.test_pages import item, metrics, player

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
HOSTILE_TEXT = TEXT | st.sampled_from(HOSTILE_FILES)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished chain over files of all hostile names; `input`, `output` and the stages' manifests lie in it."""
    folder = tmp_path_factory.mktemp("names")
    good = containers.wav(containers.pcm16(containers.voice(0.2)))
    for name in (*HOSTILE_FILES, *NOT_TEXT):
        path = folder / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(good)
    for name in OTHER_FORMATS:
        (folder / "input" / name).write_bytes(
            containers.encoded(containers.voice(0.2), containers.RATE, "OGG" if name.endswith(".oga") else "MP3")
        )
    (folder / "clean").mkdir()  # so that references are looked for under every name
    chain = Chain.tiny(folder)
    chain.ingest(folder)
    chain.render(folder)
    return folder


def test_every_file_has_an_output_of_its_own(batch: Path) -> None:
    rows = read_manifest(batch / "publish.0.jsonl")
    done = {row.relative: row for row in rows if row.ok}
    assert set(done) == {*HOSTILE_FILES, *OTHER_FORMATS}
    outputs = [Path(str(row.published)) for row in done.values()]
    assert len(set(outputs)) == len(done) and all(audio.probe(path).frames for path in outputs)
    found = {path for path in (batch / "output").rglob("*") if path.is_file()}
    assert found == set(outputs)
    for name in HOSTILE_FILES:
        assert done[name].output == name, "a WAV keeps its name, whatever it is"
    assert all(len(os.fsencode(path.name)) <= 255 for path in outputs)


def test_names_that_are_no_text_are_rejected_rows(batch: Path) -> None:
    rejected = {row.relative: row.reason for row in read_manifest(batch / "publish.0.jsonl") if not row.ok}
    assert set(rejected) == {r"bad\xff.wav", r"\xc3(.wav", r"\xed\xa0\x80.wav", r"folder\xfe/x.wav"}
    assert all("not UTF-8: rename it" in str(reason) for reason in rejected.values())


def test_nothing_ran_and_nothing_left_its_folder(batch: Path) -> None:
    assert not list(batch.rglob("pwned")) and not Path("pwned").exists()
    assert {path.name for path in batch.iterdir() if path.is_dir()} == {"input", "clean", "output", "store"}


def test_ids_are_safe_file_names(batch: Path) -> None:
    rows = read_manifest(batch / "ingest.0.jsonl")
    ids = {row.id for row in rows}
    assert (
        len({name.casefold() for name in ids}) == len(rows) == len(HOSTILE_FILES) + len(OTHER_FORMATS) + len(NOT_TEXT)
    )
    assert not any(char in name for name in ids for char in "/\\'\"$`;&|<>*?{}\n\t ") and ".." not in ids


def test_metrics_csv_holds_no_formula_and_metrics_json_the_exact_names(batch: Path) -> None:
    collect.run([batch / "evaluate.0.jsonl"], batch / "m.json", batch / "m.csv")
    rows = read_csv(batch / "m.csv")
    exact = {row["input"] for row in json.loads((batch / "m.json").read_text())["items"]}
    assert {row["input"] for row in rows} == exact >= set(HOSTILE_FILES)
    with open(batch / "m.csv", encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            for text in row:
                assert not text.startswith(("=", "+", "@", "\t", "\r")), text
                assert not text.startswith("-") or float(text) < 0


@given(HOSTILE_TEXT | st.sampled_from(["-5", "-inf", "'", "''=", "'-x", "-x", "\t0"]))
def test_a_cell_is_no_formula_and_gives_its_text_back(text: str) -> None:
    made = cell(text)
    assert plain_cell(made) == text
    assert not made.startswith(("=", "@", "\t", "\r")) and (
        not made.startswith(("+", "-")) or isinstance(float(made), float)
    )
    assert cell(-1.5) == -1.5 and cell(None) is None


def test_csv_gives_back_what_was_written(tmp_path: Path) -> None:
    rows = [{"name": name, "value": "-1.5"} for name in HOSTILE_FILES]
    write_csv(tmp_path / "t.csv", ("name", "value"), rows)
    assert read_csv(tmp_path / "t.csv") == rows


class Structure(HTMLParser):
    """Tags with the names of their attributes, in order; and what stands inside `<script type=application/json>`."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.json, self._in_json = "", False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self._in_json = tag == "script" and ("type", "application/json") in attrs

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))
        self._in_json = False

    def handle_data(self, data: str) -> None:
        if self._in_json:
            self.json += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")


def pages(name: str) -> list[Structure]:
    """All pages of the report with one file of this name, and a row rejected for it."""
    found = metrics(item(0, input=name, output=name, transcript=name, heard={"wer": name}, conditions={"voice": name}))
    found["rejected"] = [{"id": "bad", "input": name, "reason": name}]
    found["by_condition"] = {"voice": [{"value": name, "n": 1, "metrics": {}}]}
    shown = [player(0, file=name)]
    texts = [
        results.page(found),
        listening.page(shown, title="L"),
        listening.details_page(shown),
        blind.page(shown, title="B"),
    ]
    assert "<script" not in summary_markdown(found, {"input": name}, []).split("## Configuration")[0]
    return [Structure(text) for text in texts]


@settings(max_examples=60, deadline=None)
@given(HOSTILE_TEXT)
def test_a_name_changes_no_page_s_structure(name: str) -> None:
    plain = pages("plain name.wav")
    for page, other in zip(pages(name), plain, strict=True):
        assert page.tags == other.tags
    data = json.loads(pages(name)[-1].json)
    assert data[0]["file"] == name


def test_manifests_hold_hostile_names_and_give_them_back(tmp_path: Path, batch: Path) -> None:
    rows = read_manifest(batch / "publish.0.jsonl")
    write_manifest(tmp_path / "m.jsonl", rows)
    assert (tmp_path / "m.jsonl").read_text().count("\n") == len(rows) and read_manifest(tmp_path / "m.jsonl") == rows


def test_a_tree_deeper_than_a_path_can_be_long(tmp_path: Path) -> None:
    here = os.getcwd()
    (tmp_path / "input").mkdir()
    (tmp_path / "input/good.wav").write_bytes(containers.wav(containers.pcm16(containers.voice())))
    try:
        os.chdir(tmp_path / "input")
        for _ in range(20):  # 20 x 250 bytes: beyond PATH_MAX, 4096
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
        Path("x.wav").write_bytes(b"")
    finally:
        os.chdir(here)
    rows = ingest.run(tmp_path / "m.jsonl", Config(input=str(tmp_path / "input"), shards=1), 0, tmp_path / "store")
    assert [row.ok for row in sorted(rows, key=lambda row: row.relative != "good.wav")] == [True, False]
    assert any("File name too long" in str(row.reason) for row in rows)


@pytest.mark.parametrize("artifacts", ["-rf", "a{b}", "new\nline"])
def test_an_artifacts_folder_that_snakemake_would_take_for_a_pattern_is_refused(artifacts: str) -> None:
    from audiorestorer.config import validate

    with pytest.raises(AudioRestorerError, match=r"config: artifacts: .*no braces"):
        validate(Config, {"artifacts": artifacts}, "config")
