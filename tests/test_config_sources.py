"""Where a workflow's settings come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audiorestorer import config_sources
from audiorestorer.errors import AudioRestorerError


def test_files_are_looked_up_beside_the_snakefile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, here = tmp_path / "root", tmp_path / "here"
    for folder in (root, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    (root / "both").touch()
    (root / "theirs").touch()
    (here / "both").touch()
    found = {name: config_sources.located(name, str(root), is_own=False) for name in ("both", "theirs", "none")}
    assert found == {"both": "both", "theirs": os.path.join(root, "theirs"), "none": "none"}
    assert config_sources.located("both", str(root), is_own=True) == os.path.join(root, "both")


def test_texts_and_settings_of_another_workflow():
    assert config_sources.texts({"a": ["x", {"b": "y"}], "c": 1}) == {"x", "y"}
    assert config_sources.known_settings({"input": "a", "theirs": 1}) == {"input": "a"}


def test_an_empty_settings_file_is_refused(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("- a\n")
    with pytest.raises(AudioRestorerError, match="settings are needed"):
        config_sources.check_settings_file(str(tmp_path / "c.yaml"))
