"""PANNs through its real code, on a Cnn14 with random weights in the original checkpoint's format."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import tagging
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.groups import panns as group_panns
from tests import warm
from tests.tiny_models import write_random_panns

RATE = tagging.RATE_HZ


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    sampler = {"random_state": np.random.RandomState(1), "indexes": np.arange(5), "pointer": 3}
    files = write_random_panns(tmp_path_factory.mktemp("panns"), sampler=sampler)
    return {"name": "panns", "digest": "0", "files": files}


@pytest.fixture(scope="module")
def tag(record):
    return tagging.load(record)


def test_presence_is_a_probability_and_is_the_network_s_own(tag, record):
    mono = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    found = tag(mono)
    assert set(found) == {"music", "speech", "noise"} and all(0 <= value <= 1 for value in found.values())
    labels, checkpoint = (Path(file["path"]) for file in sorted(record["files"], key=lambda file: file["path"][-3:]))
    network = tagging.network_class(labels)(classes_num=527, **tagging.CNN14).eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=False)["model"])
    with torch.inference_mode():
        direct = network(torch.from_numpy(mono)[None], None)["clipwise_output"][0].numpy()
    assert found["music"] == pytest.approx(float(direct[tagging.read_labels(labels).index("Music")]), abs=1e-6)


def test_long_and_short_signals(tag):
    rng = np.random.default_rng(0)
    for seconds in (0.01, 10.5):
        assert all(
            np.isfinite(value) for value in tag(rng.standard_normal(int(seconds * RATE)).astype(np.float32)).values()
        )
    windows = tagging.equal_windows(np.arange(25 * RATE, dtype=np.float32))
    assert windows.shape[0] == 3 and windows.shape[1] <= 10 * RATE
    assert np.array_equal(windows.ravel()[: 25 * RATE], np.arange(25 * RATE, dtype=np.float32))


def test_nothing_is_fetched_and_home_is_left_alone(record, tmp_path):
    """In a fresh process whose `wget` would leave a trace."""
    trap = tmp_path / "bin/wget"
    trap.parent.mkdir()
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    trap.chmod(0o755)
    code = f"from audiorestorer.metrics import tagging; import os; tagging.load({record!r}); print(os.environ['HOME'])"
    (tmp_path / "loads_a_tagger.py").write_text(code)
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{trap.parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(warm.ROOT)
    done = warm.run("-m", "loads_a_tagger", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == str(tmp_path)
    assert not (tmp_path / "called").exists() and not (tmp_path / "panns_data").exists()


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmful",)


def test_a_checkpoint_that_would_run_code_is_refused(record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Harmful()}, tmp_path / "evil.pth")
    files = [{"path": file["path"]} for file in record["files"] if file["path"].endswith(".csv")]
    for trust in (False, True):
        with pytest.raises(AudioRestorerError, match="not a Cnn14 checkpoint"):
            tagging.load({"name": "evil", "trust": trust, "files": [*files, {"path": str(tmp_path / "evil.pth")}]})
    assert not (tmp_path / "harmful").exists()


def test_wrong_files_are_named(record, tmp_path):
    with pytest.raises(AudioRestorerError, match="needs class_labels_indices"):
        tagging.load({"name": "p", "files": record["files"][:1]})
    (tmp_path / "labels.csv").write_text("index,mid,display_name\n0,/m/0,Speech\n")
    with pytest.raises(AudioRestorerError, match=r"labels\.csv: lacks the class"):
        tagging.read_labels(tmp_path / "labels.csv")
    torch.save({"model": {"weight": torch.zeros(3)}}, tmp_path / "other.pth")
    labels = next(file for file in record["files"] if file["path"].endswith(".csv"))
    with pytest.raises(AudioRestorerError, match=r"other\.pth: not a Cnn14 checkpoint"):
        tagging.load({"name": "p", "files": [labels, {"path": str(tmp_path / "other.pth")}]})


def test_absent_weights_are_a_hint():
    assert "evaluate.tagger" in (group_panns.unavailable(Context()) or "")
