"""Tables as Excel, Windows, old Macs and data sets write them: read, or refused with what to do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, read_json, read_lines, read_objects, write_csv
from audiorestorer.intake.pairs import COLUMNS
from audiorestorer.metrics.texts import distinct
from audiorestorer.stages.evaluate import sentences_of
from audiorestorer.tables import read_table

PLAIN = 'path\ttranscript\na.wav\tHello there\nb c.wav\tGröße, "naïve" café\n'
WANTED = [("a.wav", "Hello there"), ("b c.wav", 'Größe, "naïve" café')]


def pairs_of(path: Path) -> list[tuple[str, str]]:
    return [(row.cells.get("path", ""), row.cells.get("transcript", "")) for row in read_table(path, COLUMNS).rows]


def read(tmp_path: Path, content: str | bytes) -> list[tuple[str, str]]:
    path = tmp_path / "t.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return pairs_of(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, ending: str) -> None:
    text = PLAIN.replace("\n", ending)
    mark = "\ufeff" if encoding in ("utf-16-be", "utf-16-le") else ""
    assert read(tmp_path, (mark + text).encode(encoding)) == WANTED


@pytest.mark.parametrize(
    "header",
    [
        "Path\tTRANSCRIPT",
        " path \t transcript",
        '"path"\t"transcript"',
        "file_name\ttext",
        "audio\tsentence",
        "\ufeffpath\ttranscript",
        "\n \npath\ttranscript",
        "file\tTranscription",
    ],
)
def test_headers(tmp_path: Path, header: str) -> None:
    assert read(tmp_path, PLAIN.replace("path\ttranscript", header, 1)) == WANTED


@pytest.mark.parametrize("mark", [",", ";", "|", "\t"])
def test_delimiters_are_seen_in_the_header(tmp_path: Path, mark: str) -> None:
    rows = (
        f'path{mark}voice{mark}transcript\na.wav{mark}x{mark}Hello there\nb c.wav{mark}{mark}"Größe, ""naïve"" café"\n'
    )
    assert read(tmp_path, rows) == WANTED
    assert read(tmp_path, f"sep={mark}\n{rows}") == WANTED


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"Never," she said', '"Never," she said'),
        ('He said "no"', 'He said "no"'),
        ('"He said ""no"""', 'He said "no"'),
        ('"Hello there"', "Hello there"),
        ('"Yes," he said, "no"', '"Yes," he said, "no"'),
        ('"Hello', '"Hello'),
        ('5" disk', '5" disk'),
        ('"two\nlines"', "two\nlines"),
        ("  spaces  ", "spaces"),
        ("a\u2028b", "a\u2028b"),
    ],
)
def test_a_quote_is_a_mark_only_where_it_opens_and_closes_a_cell(tmp_path: Path, cell: str, text: str) -> None:
    found = read(tmp_path, f"path\ttranscript\na.wav\t{cell}\nb.wav\tend\n")
    assert found == [("a.wav", text), ("b.wav", "end")]


def test_speech_that_goes_on_in_the_next_row_swallows_no_row(tmp_path: Path) -> None:
    found = read(tmp_path, 'path|text|n\na|"Never,|1\nb|I said."|2\n')
    assert found == [("a", '"Never,'), ("b", 'I said."')]


def test_rows_of_other_lengths_have_their_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('path,transcript,voice\na,x,y\n\nb\n"c","two\nlines",z,,\nd,one, two,three\n')
    rows = read_table(tmp_path / "t.csv", COLUMNS).rows
    assert [(row.line, row.too_many) for row in rows] == [(2, False), (4, False), (5, False), (7, True)]
    assert rows[1].cells == {"path": "b"} and rows[2].cells["transcript"] == "two\nlines"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path\ttranscript\na\tx\nb\tGröße".encode("latin-1"), r"t\.tsv: line 3: the byte 0xf6 is not UTF-8: save it as UTF-8"),
        (b"path\ttranscript\ra\tx\rb\t\x80", "line 3: the byte 0x80"),
        (PLAIN.encode("utf-16-le"), "NUL|not UTF-8"),
        (b"path\ttranscript\na\tx\0y\n", "line 2: a NUL character"),
        (b"\xff\xfep\0a", "its first bytes say UTF-16"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"", "empty: its first line must name the columns path"),
        (b"\n \n", "empty"),
        (b"a|Hello, you|Hello\nb|x|y\n", r"'a\|Hello, you\|Hello': .*write the line 'path\|transcript\|column3' above"),
        ("\ufeff\u200bpfad\ttext\n".encode(), r"it is '\\u200bpfad\\ttext'"),
        (b"path\tpath\ttranscript\n", "has the column 'path' twice"),
        (b"path\ttranscript\na\t" + b"x" * 200_000, "line 2: a cell of more than"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_what_to_do(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(AudioRestorerError, match=message) as caught:
        read(tmp_path, content)
    assert str(caught.value).isprintable()


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.tsv"):
        with pytest.raises(AudioRestorerError, match="cannot read"):
            pairs_of(path)


@given(text=st.text(max_size=300))
def test_no_text_ends_in_another_exception(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    path.write_text("path\ttranscript\n" + text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        pairs_of(path)
    except AudioRestorerError as error:
        assert "any.tsv" in str(error)


def test_a_csv_that_went_through_excel_is_still_ours(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    write_csv(path, ["track", "status"], [{"track": 'a "b"; c', "status": "-1 + x"}, {"track": "ü\r\n2", "status": ""}])
    rows = read_csv(path)
    assert rows == [{"track": 'a "b"; c', "status": "-1 + x"}, {"track": "ü\r\n2", "status": ""}]
    path.write_text('track;status\r\n"a ""b""; c";\'-1 + x\r\n"ü\r\n2";\r\n', encoding="utf-8-sig", newline="")
    assert read_csv(path) == rows
    path.write_text("track,status\na\n")
    with pytest.raises(AudioRestorerError, match="line 2: 1 cells, the header has 2"):
        read_csv(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_manifests_of_windows(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "m.jsonl").write_text('{"id": "ä"}\r\n\r\n{"id": "b"}\r\n', encoding=encoding, newline="")
    assert list(read_lines(tmp_path / "m.jsonl")) == [(1, '{"id": "ä"}\n'), (3, '{"id": "b"}\n')]
    (tmp_path / "m.jsonl").write_bytes(b'{"id": "\xf6"}\n')
    with pytest.raises(AudioRestorerError, match="not UTF-8 text"):
        list(read_lines(tmp_path / "m.jsonl"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "not a JSON object"),
        ("{", "not valid JSON"),
        ('{"id": 1, "id": 2}', "not valid JSON: the key 'id' is there twice"),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "m.jsonl").write_text(f'{{"id": "a"}}\n\n{line}\n')
    with pytest.raises(AudioRestorerError, match=f"m.jsonl:3: {reason}"):
        list(read_objects(tmp_path / "m.jsonl"))


def test_json_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"a": "b"}', encoding="utf-8-sig")
    assert read_json(tmp_path / "s.json") == {"a": "b"}


def test_sentences_come_from_tables_and_from_plain_texts(tmp_path: Path) -> None:
    files = {
        "t.csv": "\ufeffFile;Text\r\na;One two\r\nb;\r\n".encode(),
        "t.txt": "path\ttranscript\na\tOne two\n".encode("utf-16"),
        "plain.txt": "One two\r\nOne two\r\n".encode("utf-8-sig"),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert distinct(sentences_of(tmp_path / name)) == ("one two",), name
