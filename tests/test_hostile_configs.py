"""Configurations that cannot be meant: one line with key, value, what is allowed and the nearest key; exit code 2."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiorestorer import __main__, checking, config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.registry import Registry
from audiorestorer.training.settings import TrainSettings

ENTRY = "models: {m: {kind: demucs, task: separate, source: folder, licence: MIT, %s}}"
SEPARATOR = "separators: [{name: a, model: m, %s}]"


class Case(NamedTuple):
    """`text` is YAML; the message must hold all four of the others. `near`: the key (or choice) that was meant, or the key itself."""

    text: str
    key: str
    value: str
    allowed: str
    near: str


CONFIG = [
    # unknown keys: misspelt, of another section, in another style, with another unit, of another type than text
    Case("shrads: 4", "shrads", "4", "shards", "'shards'"),
    Case("separator: []", "separator", "[]", "separators", "'separators'"),
    Case("Input: x", "Input", "'x'", "input, output", "'input'"),
    Case("target_lufs: -23", "target_lufs", "-23", "loudness", "'loudness.target_lufs'"),
    Case("wet: 0.5", "wet", "0.5", "denoise", "'denoise.wet'"),
    Case("overlap: 0.5", "overlap", "0.5", "separators", "'separators.N.overlap'"),
    Case("keep-intermediates: true", "keep-intermediates", "True", "keep_intermediates", "'keep_intermediates'"),
    Case("postmask: {betta: 2}", "postmask.betta", "2", "beta, floor", "'beta'"),
    Case("denoise: {modle: x}", "denoise.modle", "'x'", "model, wet", "'model'"),
    Case("denoise: {segment_ms: 7800}", "denoise.segment_ms", "7800", "segment_sec", "'segment_sec'"),
    Case("ingest: {min_duration_ms: 100}", "ingest.min_duration_ms", "100", "min_duration_sec", "'min_duration_sec'"),
    Case("ingest: {silence_db: -60}", "ingest.silence_db", "-60", "silence_dbfs", "'silence_dbfs'"),
    Case("loudness: {target_db: -23}", "loudness.target_db", "-23", "target_lufs", "'target_lufs'"),
    Case("loudness: {true_peak_db: -1}", "loudness.true_peak_db", "-1", "true_peak_dbtp", "'true_peak_dbtp'"),
    Case("evaluate: {metric: [wer]}", "evaluate.metric", "['wer']", "metrics, recogniser", "'metrics'"),
    Case("snippets: {secs: 3}", "snippets.secs", "3", "count, seconds, seed", "'seconds'"),
    Case("deliver: {nmae: x}", "deliver.nmae", "'x'", "name", "'name'"),
    Case("training: {experimnet: x}", "training.experimnet", "'x'", "experiment", "'experiment'"),
    Case("ablation: {data: {trakcs: 9}}", "ablation.data.trakcs", "9", "tracks, stand_ins", "'tracks'"),
    Case(SEPARATOR % "overlop: 0.1", "separators.0.overlop", "0.1", "overlap, segment_sec", "'overlap'"),
    Case(SEPARATOR % "batchsize: 4", "separators.0.batchsize", "4", "batch_size", "'batch_size'"),
    Case("'de\\x07vice': cpu", "de\\x07vice", "'cpu'", "device", "device"),
    Case("1: 2", "1", "1", "input, output", "shards"),
    Case("on: x", "1", "True", "input, output", "output"),
    # impossible values
    Case(SEPARATOR % "overlap: 1.0", "separators.0.overlap", "1.0", "at least 0, below 1", "overlap"),
    Case(SEPARATOR % "overlap: 25", "separators.0.overlap", "25", "below 1 (Share of a segment", "overlap"),
    Case(SEPARATOR % "overlap: -0.1", "separators.0.overlap", "-0.1", "at least 0", "overlap"),
    Case(SEPARATOR % "overlap: .nan", "separators.0.overlap", "nan", "a number", "overlap"),
    Case(SEPARATOR % "overlap: .inf", "separators.0.overlap", "inf", "below 1", "overlap"),
    Case(SEPARATOR % "overlap: 25 %", "separators.0.overlap", "'25 %'", "a number", "overlap"),
    Case(SEPARATOR % "batch_size: -4", "separators.0.batch_size", "-4", "at least 1, at most 256 or null", "batch_size"),
    Case(SEPARATOR % "batch_size: 2.5", "separators.0.batch_size", "2.5", "a whole number", "batch_size"),
    Case(SEPARATOR % "segment_sec: 0", "separators.0.segment_sec", "0", "above 0, at most 600", "segment_sec"),
    Case(SEPARATOR % "segment_sec: 1e308", "separators.0.segment_sec", "'1e308'", "at most 600", "segment_sec"),
    Case(SEPARATOR % "segment_sec: 7.8s", "separators.0.segment_sec", "'7.8s'", "a number", "segment_sec"),
    Case(SEPARATOR % "shifts: 1000000", "separators.0.shifts", "1000000", "at most 20", "shifts"),
    Case(SEPARATOR % "backend: torhc", "separators.0.backend", "'torhc'", "auto, torch, openvino", "'torch'"),
    Case(SEPARATOR % "precision: float23", "separators.0.precision", "'float23'", "bfloat16", "'float32'"),
    Case(SEPARATOR % "accompaniment: Stem", "separators.0.accompaniment", "'Stem'", "residual, stems", "'stems'"),
    Case("separators: [{name: ../a, model: m}]", "separators.0.name", "'../a'", "of the pattern", "name"),
    Case("separators: [{name: a, model: 'm; ls'}]", "separators.0.model", "'m; ls'", "of the pattern", "model"),
    Case("separators: []", "separators", "[]", "1 entries or more", "separators"),
    Case("separators: {name: a, model: m}", "separators", "{'model': 'm', 'name': 'a'}", "a list, each", "separators"),
    Case("separators: [{name: a}]", "separators.0.model", "{'name': 'a'}", "text, of the pattern", "model"),
    Case("separators: [{name: a, model: m}, {name: a, model: n}]", "separators", "two", "a list", "separators"),
    Case("fuse: {hop_length: 1500}", "fuse", "hop_length 1500", "n_fft, hop_length", "hop_length"),
    Case("fuse: {n_fft: 0}", "fuse.n_fft", "0", "at least 64, at most 65536", "n_fft"),
    Case("fuse: {eps: 0}", "fuse.eps", "0", "above 0", "eps"),
    Case("fuse: null", "fuse", "None", "a mapping with the keys n_fft", "fuse"),
    Case("fuse: [2048, 512]", "fuse", "[2048, 512]", "a mapping with the keys n_fft", "fuse"),
    Case("postmask: {beta: -1}", "postmask.beta", "-1", "above 0, at most 8", "beta"),
    Case("postmask: {floor: -20}", "postmask.floor", "-20", "at least 0, at most 1 (Lowest value of the mask", "floor"),
    Case("denoise: {wet: 80}", "denoise.wet", "80", "at most 1", "wet"),
    Case("denoise: {wet: true}", "denoise.wet", "True", "a number, at least 0", "wet"),
    Case("denoise: {wet: loud}", "denoise.wet", "'loud'", "a number", "wet"),
    Case("denoise: {wet: [0.5]}", "denoise.wet", "[0.5]", "a number", "wet"),
    Case("denoise: {high_band: keeep}", "denoise.high_band", "'keeep'", "keep, mask, drop", "'keep'"),
    Case("loudness: {target_lufs: 23}", "loudness.target_lufs", "23", "at least -60, at most -5", "target_lufs"),
    Case("loudness: {target_lufs: -23 LUFS}", "loudness.target_lufs", "'-23 LUFS'", "a number", "target_lufs"),
    Case("loudness: {true_peak_dbtp: 1}", "loudness.true_peak_dbtp", "1", "at most 0", "true_peak_dbtp"),
    Case("loudness: {format: aac}", "loudness.format", "'aac'", "keep, wav, flac, mp3, m4a, opus", "format"),
    Case("loudness: {subtype: PCM24}", "loudness.subtype", "'PCM24'", "PCM_16, PCM_24, FLOAT", "subtype"),
    Case("loudness: {format: flac, subtype: FLOAT}", "loudness", "FLOAT", "choose PCM_24", "subtype"),
    Case("evaluate: {metrics: [wre]}", "evaluate.metrics.0", "'wre'", "signal, wer (A module of", "'wer'"),
    Case("evaluate: {recogniser: a/b}", "evaluate.recogniser", "'a/b'", "of the pattern", "recogniser"),
    Case("shards: 0", "shards", "0", "at least 1, at most 100000", "shards"),
    Case("shards: 0x" + "f" * 6000, "shards", "digits", "at most 100000", "shards"),
    Case("shards: 2021-01-01", "shards", "datetime.date(2021, 1, 1)", "a whole number", "shards"),
    Case("shards: true", "shards", "True", "a whole number", "shards"),
    Case("shards: atuo", "shards", "'atuo'", "at most 100000, or auto", "did you mean 'auto'"),
    Case("evaluate: {wer_sample: 0}", "evaluate.wer_sample", "0", "a whole number, at least 1, or all", "wer_sample"),
    Case("strict: perhaps", "strict", "'perhaps'", "true or false", "strict"),
    Case("device: 'cuda; rm -rf /'", "device", "'cuda; rm -rf /'", "a GPU if there is one", "device"),
    Case("input: ''", "input", "''", "1 characters or more", "input"),
    Case("input: 3", "input", "3", "text", "input"),
    Case('output: "a\\0b"', "output", "'a\\x00b'", "without NUL", "output"),
    Case("output: " + "x" * 20_000, "output", "xxx...xxx", "at most 10000 characters", "output"),
    Case("exclude: '*.wav'", "exclude", "'*.wav'", "a list, each text", "exclude"),
    Case("snippets: {seed: -1}", "snippets.seed", "-1", "at least 0", "seed"),
    Case("ablation: {seeds: [-1]}", "ablation", "seeds", "0 .. 4294967295", "seeds"),
    Case("ablation: {rows: [{name: baseline, strategies: 3}]}", "ablation.rows.0.strategies", "3", "a mapping", "strategies"),
]  # fmt: skip
EXPERIMENT = [
    Case("network: {sample_rate: 0}", "network.sample_rate", "0", "at least 8000, at most 96000", "sample_rate"),
    Case("network: {samplerate: 44100}", "network.samplerate", "44100", "sample_rate, n_fft", "'sample_rate'"),
    Case("network: {channels: [24, true]}", "network.channels", "True", "each a whole number", "channels"),
    Case("learning_rate: -1", "learning_rate", "-1", "above 0", "learning_rate"),
    Case("batch_size: -8", "batch_size", "-8", "at least 1", "batch_size"),
    Case("steps: 101", "top level", "steps 101", "a multiple of", "steps_per_epoch"),
    Case("seed: 99999999999", "seed", "99999999999", "at most 4294967295", "seed"),
    Case("task: seperate", "task", "'seperate'", "separate, denoise", "'separate'"),
    Case("losses: {}", "losses", "{}", "1 entries or more", "losses"),
    Case("mixtures: {snr: [0, 5]}", "mixtures.snr", "[0, 5]", "snr_db", "'snr_db'"),
]
MODELS = [
    Case(ENTRY % "sample_rate: 0", "models.m.sample_rate", "0", "at least 4000, at most 384000", "sample_rate"),
    Case(ENTRY % "license: MIT", "models.m.license", "'MIT'", "licence", "'licence'"),
    Case(ENTRY % "files: [{name: ../../etc/x.th}]", "models.m.files.0.name", "'../../etc/x.th'", "pattern", "name"),
    Case(
        ENTRY % "files: [{name: a.th, sha256: xyz}]", "models.m.files.0.sha256", "'xyz'", "the first digits", "sha256"
    ),
    Case(ENTRY % "url: 'http://x.org'", "models.m.url", "'http://x.org'", "^https://", "url"),
    Case(ENTRY % "max_segment_sec: -1", "models.m.max_segment_sec", "-1", "above 0", "max_segment_sec"),
    Case("models: {m: 3}", "models.m", "3", "a mapping with the keys kind", "kind"),
    Case("models: []", "models", "[]", "a mapping", "models"),
]
FILES = [
    (case, kind)
    for kind, cases in (("config", CONFIG), ("experiment", EXPERIMENT), ("models", MODELS))
    for case in cases
]


def refused(args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says; it must leave with code 2, and nothing else may escape."""
    monkeypatch.setattr(sys, "argv", ["audiorestorer", *args])
    with pytest.raises(SystemExit) as exit_:
        __main__.main()
    message = capsys.readouterr().err
    assert exit_.value.code == 2 and "Traceback" not in message
    return message


def test_the_table_is_large_enough() -> None:
    assert len(FILES) >= 90 and len({case.text for case, _ in FILES}) == len(FILES)


@pytest.mark.parametrize(
    ("case", "kind"), FILES, ids=lambda given: given.text[:60] if isinstance(given, Case) else given
)
def test_key_value_allowed_and_nearest(
    case: Case, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(case.text, encoding="utf-8")
    message = refused(["check-config", str(path), "--as", kind], monkeypatch, capsys)
    assert len(message.splitlines()) == 1 and len(message) < 2000
    assert message.startswith(f"audiorestorer: {path}: {case.key}: ")
    for part in case[2:]:
        assert part in message, part


@pytest.mark.parametrize(("stage", "given", "parts"), [
    ("fuse", '{"hop_lenght": 512}', ("hop_lenght", "512", "n_fft, hop_length, eps", "'hop_length'")),
    ("separate", '{"name": "a", "model": "m", "overlap": 1.0}', ("overlap", "1.0", "below 1", "overlap")),
    ("denoise", '{"wet": NaN}', ("wet", "nan", "at least 0, at most 1", "wet")),
    ("postmask", '{"beta": 1e999}', ("beta", "inf", "at most 8", "beta")),
    ("loudness", '{"true_peak_dbtp": 3}', ("true_peak_dbtp", "3", "at most 0", "true_peak_dbtp")),
    ("fuse", '{"n_fft": 2048, "n_fft": 4096}', ("--config", "'n_fft'", "twice", "n_fft")),
    ("fuse", '{"n_fft": ' + "9" * 5000 + "}", ("--config", "not valid JSON", "4300 digits", "")),
    ("fuse", '{"n_fft": ' + "[" * 100_000, ("--config", "not valid JSON", "recursion", "")),
])  # fmt: skip
def test_the_stages_own_settings(
    stage: str, given: str, parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused([stage, "in.jsonl", "out.jsonl", "--config", given], monkeypatch, capsys)
    assert all(part in message for part in ("--config", *parts)), message


NOT_YAML = {
    "repeated key": (b"shards: 4\nshards: 5\n", "'shards' is there twice at line 2"),
    "repeated inner key": (b"fuse:\n  eps: 1.0e-9\n  eps: 1.0e-8\n", "'eps' is there twice at line 3"),
    "tab": (b"postmask:\n\tbeta: 2\n", "indent with spaces, not with tabs"),
    "Latin-1": (b"strict: false\ninput: caf\xe9\n", "line 2: the byte 0xe9 is not UTF-8"),
    "UTF-16": ("input: x\n".encode("utf-16"), "line 1: the byte 0xff is not UTF-8"),
    "NUL": (b"input: a\0b\n", "special characters are not allowed"),
    "object": (b'input: !!python/object/apply:os.system ["touch owned"]\n', "python/object/apply:os.system"),
    "bomb": (b"".join(b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9 if c > 97 else [b"x"] * 9)) for c in range(97, 107)), "more than 20000 values"),  # noqa: E501
    "alias of itself": (b"exclude: &a [*a]\n", "alias that contains itself"),
    "depth": (b"exclude: " + b"[" * 60 + b"]" * 60, "more than 40 levels deep"),
    "great depth": (b"[" * 100_000, "recursion"),
    "digits": (b"shards: " + b"9" * 5000, "4300 digits"),
    "no date": (b"input: 2001-99-99\n", "month must be in 1..12 at line 1"),
    "list as key": (b"? [a]\n: b\n", "unhashable key"),
    "unclosed": (b"separators: [{name: a\n", "expected"),
    "two documents": (b"shards: 2\n---\nshards: 3\n", "expected a single document"),
    "size": (b"# " + b"x" * 5_000_000, "larger than 4 MB"),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", NOT_YAML)
def test_what_is_no_yaml(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, reason = NOT_YAML[name]
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    message = refused(["check-config", str(path)], monkeypatch, capsys)
    assert message.startswith(f"audiorestorer: {path}: ") and reason in message and len(message) < 1000
    assert [each.name for each in tmp_path.iterdir()] == ["c.yaml"]


def test_neither_folder_nor_pipe_is_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(AudioRestorerError, match="not a file"):
            config.read_yaml(path)


def test_aliases_are_taken_where_they_are_meant(tmp_path: Path) -> None:
    text = "fuse: &stft {n_fft: 1024, hop_length: 256}\npostmask: {<<: *stft, beta: 2}\n"
    (tmp_path / "c.yaml").write_text(text)
    assert config.load(config.Config, str(tmp_path / "c.yaml")).postmask.n_fft == 1024


DEFAULTS: dict[str, Any] = config.Config().model_dump(mode="json")
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=8), st.dates(),
    st.sampled_from([10**400, -(10**20), 1e308, -0.0, "\ud800", "\0", "../..", "$(ls)", "auto", [], {}, [[]], {"a": {}}]),
)  # fmt: skip
VALUES = (
    LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.text(max_size=9) | st.integers(), LEAVES, max_size=3)
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """The default configuration with one to three values replaced, keys added or keys renamed, anywhere."""
    values = copy.deepcopy(DEFAULTS)
    for _ in range(draw(st.integers(1, 3))):
        place: Any = values
        while True:
            key = draw(st.sampled_from(sorted(place, key=repr) if isinstance(place, dict) else range(len(place))))
            inner = place[key]
            if not (isinstance(inner, dict | list) and inner and draw(st.booleans())):
                break
            place = inner
        action = draw(st.sampled_from(["replace", "rename", "add"])) if isinstance(place, dict) else "replace"
        if action == "rename":
            wrong = draw(st.text(max_size=12))
            place[wrong] = place.pop(key)
            if not any(isinstance(name, str) for name in place):
                break
        else:
            place[key if action == "replace" else draw(st.text(max_size=12))] = draw(VALUES)
    return values


@given(mutated())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_mutation_of_the_defaults_gives_anything_but_a_message(values: dict[str, Any]) -> None:
    try:
        found = config.validate(config.Config, values, "c.yaml")
    except AudioRestorerError as error:
        lines = str(error).splitlines()
        assert 1 <= len(lines) <= checking.MAX_LINES + 1
        assert all(line.startswith("c.yaml: ") and len(line) < 2500 for line in lines)
    else:
        again = config.validate(config.Config, json.loads(found.model_dump_json()), "c.yaml")
        assert again == found


AS_YAML = mutated().map(lambda values: yaml.dump(values).encode("utf-8", "replace"))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | AS_YAML)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_bytes_give_anything_but_a_message(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(content)
    for model in (config.Config, TrainSettings, Registry):
        try:
            config.load(model, str(path))
        except AudioRestorerError as error:
            assert str(error).startswith(f"{path}: ")
