import ast

import pytest

from audiorestorer import digest
from audiorestorer.chain import CHAIN


def test_closure_follows_imports_and_leaves_plumbing_out():
    modules = digest.modules_of("audiorestorer.stages.fuse")
    assert "audiorestorer.audio" in modules and any(m.startswith("audiorestorer.dsp.") for m in modules)
    assert "audiorestorer.config" not in modules and "audiorestorer.store" not in modules


def test_stages_do_not_depend_on_each_other():
    for stage in (stage.name for stage in CHAIN if stage.name != "publish"):
        others = {m for m in digest.modules_of(f"audiorestorer.stages.{stage}") if ".stages." in m}
        assert others <= {f"audiorestorer.stages.{stage}"}, stage


def test_code_counts_but_comments_and_docstrings_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "ROOT", tmp_path)

    def of(text: str) -> str:
        digest._parsed.cache_clear()
        (tmp_path / "m.py").write_text(text)
        return digest.code_digest("m")

    plain = of('"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    assert plain == of('"""Other."""\n# why\ndef f(x):\n    return x + 1  # more\n')
    assert plain != of("def f(x):\n    return x + 2\n")
    digest._parsed.cache_clear()


def test_every_python_makes_the_same_digest_of_a_module():
    """Known values: a store is shared by all Pythons. 3.12 reads f-strings otherwise, 3.13 writes empty lists otherwise."""
    plain = b"""
from __future__ import annotations
import audiorestorer.audio as audio


@decorated
class Reader(Base, total=False):
    'A docstring.'

    def read(self, a, /, *b: int, c=(), **d) -> list[str]:
        value = f"{a!r:>{len(b)}} {'x'}" "y" f'{{{c}}}' u'z'
        return [one for one in d if (n := one)] or (lambda: None)


def empty(): ...
"""
    assert digest._read(plain) == (
        "04d15d065aa3730ae7efd5f15c0a8a46d4a842a996ad72b98a215cdabc994fcc",
        ["audiorestorer.audio"],
    )


def test_digests_are_kept_by_the_text_of_their_module(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "ROOT", tmp_path)
    monkeypatch.setattr(digest, "_made", {})

    def fresh() -> None:
        digest._parsed.cache_clear()
        digest._kept.cache_clear()

    (tmp_path / "m.py").write_text("x = 1\n")
    fresh()
    first = digest.code_digest("m")
    digest.keep()
    fresh()
    monkeypatch.setattr(digest, "_read", lambda content: pytest.fail("it was parsed again"))
    assert digest.code_digest("m") == first
    monkeypatch.undo()
    monkeypatch.setattr(digest, "ROOT", tmp_path)
    monkeypatch.setattr(digest, "_made", {})
    (tmp_path / "m.py").write_text("x = 2\n")
    fresh()
    assert digest.code_digest("m") != first
    for damaged in ("", "[]", '{"' + "0" * 64 + '": 5}', "{"):
        digest.kept_file().write_text(damaged)
        fresh()
        assert digest.code_digest("m") != first
    fresh()


def test_imports_go_down_only():
    """The design's layers: a module imports only from its own layer (dsp from dsp) or from below."""
    layers = [
        {
            "errors", "names", "devices", "memory", "resources", "digest", "places", "installed", "forked", "apart", "job_server",
            "licences", "locks", "temporaries",
        },
        {"checking", "left_out", "tables"}, {"files"},
        {"manifest", "windows_names"}, {"config_values", "config_text"}, {"config_results", "config_training"}, {"config"},
        {"chain", "config_sources", "folders", "presets"},
        {"buckets", "progress", "store", "packed", "store_users", "formats"}, {"published"}, {"audio"}, {"intake"}, {"dsp"},
        {"losses", "models", "metrics"}, {"datasets"}, {"report", "training", "separators", "workflow"},
        {"launch", "doctor", "workflow_run"}, {"stages"}, {"serving"}, {"commands"}, {"__main__", "entry"},
    ]  # fmt: skip
    level = {name: i for i, layer in enumerate(layers) for name in layer}
    for path in digest.ROOT.rglob("*.py"):
        parts = path.relative_to(digest.ROOT).with_suffix("").parts
        if parts == ("__init__",):
            continue
        own = parts[0]
        assert own in level, f"{path}: a folder that the design does not know"
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("audiorestorer"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("audiorestorer.")]
            for name in names:
                target = name.split(".")[1]
                if target in level:
                    assert level[target] <= level[own], f"{path} imports {name}: upward"
                if own == "stages" and target == "stages":
                    assert name.split(".")[2] in ("shard", "network", "folder", "inputs", "job"), (
                        f"{path} imports another stage"
                    )
