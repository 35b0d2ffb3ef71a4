"""The training half, run by snakemake for real on a tiny experiment: from generated data to a registered, exported, reported model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from audiorestorer.files import read_csv, read_json
from audiorestorer.models import registry
from audiorestorer.store import sha256_file
from tests.workflow.conftest import make_workspace, snakemake

# what `training` asks for, but for the sanity suite: that one takes minutes
PAGES = ("artifacts/training/training.html", "artifacts/training/models.yaml")
EXPERIMENT = """
name: tiny
task: denoise
steps: 6
steps_per_epoch: 2
batch_size: 2
network: {n_fft: 256, hop_length: 128, frequency_fold: 4, channels: [4], time_strides: [2], rnn_hidden: 8}
mixtures: {segment_sec: 0.5}
audio_debug: {every_epochs: 1, items: 2, seconds: 1.0}
data_audit: {every_epochs: 1, items: 4}
"""


def train(folder: Path, *arguments: str) -> str:
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    config = {"training": {"experiment": str(folder / "tiny.yaml"), "name": "tiny_denoiser"}, "device": "cpu"}
    return snakemake(folder, config, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    train(folder, *PAGES)
    return folder


def test_every_step_left_its_figures(folder: Path) -> None:
    training = folder / "artifacts/training"
    assert read_json(training / "audit.json")["failed"] == 1  # the generated fault
    assert read_json(training / "train.json")["left_out"] == 1
    assert read_json(training / "noise.json")["kept"] >= 15
    assert [row["epoch"] for row in read_csv(training / "triad_summary.csv")] == ["1", "2", "3"]
    held_out = read_csv(training / "infer.csv")
    assert [row["status"] for row in held_out] == ["ok"] * 3 and all(row["composite"] for row in held_out)
    assert read_json(training / "onnx.json")["max_difference"] < 1e-4
    assert set(read_json(training / "profile.json")["backends"]) == {"torch", "onnxruntime", "openvino"}
    assert registry.load(training / "models.yaml").get("tiny_denoiser").task == "denoise"
    page = (training / "training.html").read_text()
    for title in (
        "Stem audit",
        "Noise filter",
        "Training manifest",
        "Held-out triads",
        "Learning",
        "Held-out recordings",
        "Export and profile",
    ):
        assert f"<h2>{title}" in page
    assert page.count("data:image/png") == 5 and "track08" in page


def test_nothing_is_done_twice(folder: Path) -> None:
    assert "Nothing to be done" in train(folder, *PAGES)
    runs = list((folder / "artifacts/runs").glob("*_tiny"))
    model = folder / "artifacts/training/model.safetensors"
    content = model.read_bytes()
    model.unlink()  # as Snakemake does when a job fails
    log = train(folder, str(model.relative_to(folder)))
    assert (
        model.read_bytes() == content
        and "rule train_denoiser" in log
        and not re.search(r"^step \d+/6", log, re.MULTILINE)
    )
    assert list((folder / "artifacts/runs").glob("*_tiny")) == runs


def test_the_page_is_in_the_html_report(folder: Path) -> None:
    train(folder, *PAGES, "--report", "report.html")
    text = (folder / "report.html").read_text()
    assert "training.html" in text and "triads.png" in text


def test_the_render_half_uses_the_trained_model(folder: Path) -> None:
    """One line of configuration: the registry entry that `register-model` made."""
    entries = yaml.safe_load((folder / "artifacts/training/models.yaml").read_text())["models"]
    entries["tiny_denoiser"]["source"] = str(folder / "artifacts/training/model.safetensors")
    workspace = make_workspace(folder / "render", items=1)
    given = yaml.safe_load((workspace.folder / "models.yaml").read_text())["models"]
    (workspace.folder / "models.yaml").write_text(yaml.safe_dump({"models": {**given, **entries}}))
    workspace.config |= {"shards": 1, "evaluate": {"metrics": ["loudness"]}}
    workspace.run("--", "metrics")
    metrics = workspace.metrics()
    assert metrics["counts"]["ok"] == 1
    record = read_json(workspace.folder / "artifacts/models/tiny_denoiser.json")
    assert record["files"][0]["sha256"] == sha256_file(folder / "artifacts/training/model.safetensors")


@pytest.mark.slow
def test_the_whole_target_with_the_sanity_suite(folder: Path) -> None:
    train(folder, "training")
    assert read_json(folder / "artifacts/training/sanity.json")["ok"]
    assert (folder / "artifacts/training/sanity.html").read_text().count('class="good"') == 8
