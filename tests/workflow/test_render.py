"""The render half, run by snakemake for real on tiny models: what is computed, what is not, and what survives a kill."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.tiny_models import write_random_panns
from tests.workflow.conftest import RATE, Workspace, make_workspace, speechlike

STAGES = ("separate/a", "separate/b", "fuse", "denoise", "postmask", "loudness", "evaluate/signal")


def computed(workspace: Workspace) -> dict[str, set[str]]:
    return {stage: workspace.computed(stage) for stage in STAGES}


def changed(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, int]:
    """How many items each stage computed anew."""
    return {stage: len(after[stage] - before[stage]) for stage in STAGES}


def test_the_batch_is_complete_and_bad_files_are_rows(finished: Workspace):
    assert set(finished.outputs()) == {"x one.wav", "sub/tw'o.wav", "sub/ünï/three.flac", "four.wav", "five.wav"}
    result = finished.metrics()
    assert result["counts"] == {"ok": 5, "rejected": 2}
    assert {row["input"] for row in result["rejected"]} == {"silent.wav", "cut.wav"}
    for row in result["items"]:
        if row["status"] == "ok":
            assert {"lufs", "si_sdr_improvement_db", "stoi", "composite", "music_to_speech_db"} <= row.keys()
            assert row["lufs"] == pytest.approx(-23, abs=0.1)
    for name in ("report/summary.md", "report/results.html", "report/listening.html", "eval/metrics.csv"):
        assert (finished.folder / "artifacts" / name).stat().st_size > 100


def test_outputs_have_the_input_s_rate_length_and_format(finished: Workspace):
    for name in finished.outputs():
        before = sf.info(str(finished.folder / "batch/input" / name))
        after = sf.info(str(finished.folder / "artifacts/output" / name))
        assert (before.samplerate, before.frames, before.channels, before.format, before.subtype) == (
            after.samplerate, after.frames, after.channels, after.format, after.subtype,
        )  # fmt: skip


def test_a_second_run_does_nothing_and_says_so(finished: Workspace):
    assert "Nothing to be done" in finished.run()


def test_a_new_file_computes_one_item(copy: Workspace):
    before = computed(copy)
    sf.write(copy.folder / "batch/input/new.wav", speechlike(99), RATE)
    copy.run()
    assert changed(before, computed(copy)) == dict.fromkeys(STAGES, 1)
    assert "new.wav" in copy.outputs()


def test_a_changed_file_computes_that_item_alone(copy: Workspace):
    before, outputs = computed(copy), copy.outputs()
    sf.write(copy.folder / "batch/input/four.wav", speechlike(7), RATE)
    copy.run()
    assert changed(before, computed(copy)) == dict.fromkeys(STAGES, 1)
    after = copy.outputs()
    assert {name for name in after if after[name] != outputs[name]} == {"four.wav"}


def test_touched_files_compute_nothing(copy: Workspace):
    before = computed(copy)
    for path in (copy.folder / "batch/input").rglob("*.wav"):
        path.touch()
    copy.run()
    assert changed(before, computed(copy)) == dict.fromkeys(STAGES, 0)


def test_beta_computes_postmask_and_what_follows_and_back_is_instant(copy: Workspace):
    before, outputs = computed(copy), copy.outputs()
    copy.config["postmask"]["beta"] = 3.0
    copy.run()
    between = computed(copy)
    assert changed(before, between) == {
        **dict.fromkeys(STAGES, 0), "postmask": 5, "loudness": 5, "evaluate/signal": 5,
    }  # fmt: skip
    assert copy.outputs() != outputs
    copy.config["postmask"]["beta"] = 1.0
    copy.run()
    assert computed(copy) == between and copy.outputs() == outputs


def test_loudness_computes_neither_postmask_nor_separation(copy: Workspace):
    before = computed(copy)
    copy.config["loudness"] = {"target_lufs": -30.0}
    copy.run()
    assert changed(before, computed(copy)) == {**dict.fromkeys(STAGES, 0), "loudness": 5, "evaluate/signal": 5}
    assert copy.metrics()["summary"]["lufs"]["median"] == pytest.approx(-30, abs=0.1)


def test_the_number_of_shards_computes_nothing(copy: Workspace):
    before, outputs = computed(copy), copy.outputs()
    copy.config["shards"] = 3
    copy.run()
    assert changed(before, computed(copy)) == dict.fromkeys(STAGES, 0) and copy.outputs() == outputs


def test_a_separator_fewer_is_only_fused_again(copy: Workspace):
    before = computed(copy)
    copy.config["separators"] = copy.config["separators"][:1]
    copy.run()
    new = changed(before, computed(copy))
    assert new["separate/a"] == new["separate/b"] == 0 and new["fuse"] == 5


def test_a_change_in_a_stage_s_code_recomputes_that_stage(copy: Workspace, tmp_path: Path):
    """In a copy of the repository, for the code is what changes."""
    before = computed(copy)
    house = copy_of_the_house(tmp_path / "house")
    stage = house / "audiorestorer/stages/postmask.py"
    stage.write_text(stage.read_text().replace("return speech * mask", "return speech * mask * np.float32(0.5)"))
    copy.house = house
    copy.run()
    new = changed(before, computed(copy))
    assert new["postmask"] == 5 and new["separate/a"] == new["fuse"] == new["denoise"] == 0


def copy_of_the_house(target: Path) -> Path:
    import shutil

    from tests.workflow.conftest import ROOT

    for name in ("audiorestorer", "rules", "config", "profiles", "envs", "report", "scripts"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", target)
    return target


def test_a_deleted_output_comes_back(copy: Workspace):
    before, outputs = computed(copy), copy.outputs()
    (copy.folder / "artifacts/output/four.wav").unlink()
    copy.run()
    assert copy.outputs() == outputs and computed(copy) == before


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_killed_in_the_middle_of_separation_it_goes_on_and_ends_the_same(
    finished: Workspace, tmp_path: Path, count: int
):
    workspace = make_workspace(tmp_path / "w")
    workspace.kill_when(workspace.start(), "artifacts/store/separate/*/??/*.json", count)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "w/artifacts/store/separate").rglob("*.json")}
    assert len(kept) >= count and not (tmp_path / "w/artifacts/output").exists()
    workspace.run()
    assert workspace.outputs() == finished.outputs()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a finished item was computed again"
    leftovers = [path for path in (tmp_path / "w/artifacts/manifests").rglob("*") if ".tmp" in path.name]
    assert not leftovers


def test_without_intermediates_the_result_is_the_same_and_the_store_small(finished: Workspace, tmp_path: Path):
    workspace = make_workspace(tmp_path / "w")
    workspace.config["keep_intermediates"] = False
    workspace.run()
    assert workspace.outputs() == finished.outputs()
    for stage in ("separate/a", "separate/b", "fuse", "denoise", "postmask"):
        assert not workspace.computed(stage), stage
    assert not list((tmp_path / "w/artifacts/store").glob("[sfdp]*/**/*.wav"))
    assert "Nothing to be done" in workspace.run()


def test_evaluation_alone_does_not_touch_the_rendering(copy: Workspace):
    before = computed(copy)
    stamp = {path: path.stat().st_mtime_ns for path in (copy.folder / "artifacts/manifests/loudness").glob("*")}
    text = copy.run("--allowed-rules", "evaluate", "collect", "metrics", "--forcerun", "evaluate", "--", "metrics")
    assert "rule evaluate" in text and "rule loudness" not in text and "rule separate" not in text
    assert computed(copy) == before and {path: path.stat().st_mtime_ns for path in stamp} == stamp


def test_strict_fails_after_all_else_is_done(copy: Workspace):
    copy.config["strict"] = True
    text = copy.run(ok=False)
    assert "2 files were rejected" in text and "silent.wav" in text
    assert len(copy.outputs()) == 5


def test_the_report_is_one_file_that_holds_the_results(copy: Workspace):
    copy.run("--report", str(copy.folder / "report.html"))
    text = (copy.folder / "report.html").read_text()
    assert "results.html" in text and "listening" in text and "loudness" in text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"postmsk": {}}, "did you mean 'postmask'"),
        ({"input": "nowhere"}, "no such folder"),
        ({"separators": [{"name": "a", "model": "none"}]}, "none"),
        ({"separators": [{"name": "a", "model": "tiny_a", "overlap": 1.0}]}, "overlap"),
    ],
)
def test_wrong_configs_end_with_one_message(tmp_path: Path, values: dict, message: str):
    workspace = make_workspace(tmp_path / "w", items=1)
    workspace.config.update(values)
    text = workspace.run(ok=False)
    assert message in text and "Traceback" not in text


def test_two_runs_in_one_folder_are_kept_apart(tmp_path: Path):
    workspace = make_workspace(tmp_path / "w", items=2)
    first = workspace.start()
    import time

    while not (tmp_path / "w/artifacts/.lock").exists():
        time.sleep(0.05)
    text = workspace.run(ok=False)
    assert "another run is working" in text
    assert first.wait() == 0


def test_wide_and_stereo_rates(tmp_path: Path):
    """48 kHz stereo through 22.05 kHz networks: rate, length and the difference of the channels survive."""
    workspace = make_workspace(tmp_path / "w", items=1)
    left = speechlike(3, 1.3, 48_000)
    sf.write(workspace.folder / "batch/input/st.wav", np.stack([left, 0.5 * left], 1), 48_000, subtype="PCM_24")
    workspace.run()
    out, rate = sf.read(workspace.folder / "artifacts/output/st.wav")
    assert rate == 48_000 and out.shape == (len(left), 2)
    assert np.sum(out[:, 1] ** 2) / np.sum(out[:, 0] ** 2) == pytest.approx(0.25, rel=0.1)
    assert json.loads((workspace.folder / "artifacts/eval/metrics.json").read_text())["counts"]["ok"] == 2


def test_a_metric_more_computes_only_that_metric_and_renders_nothing(copy: Workspace):
    transcripts = "".join(f"{name}\thello world\n" for name in ("x one.wav", "four.wav"))
    (copy.folder / "batch/transcripts.tsv").write_text(f"path\ttranscript\n{transcripts}")
    copy.run()
    before, outputs = computed(copy), copy.outputs()
    copy.config["evaluate"] = {"metrics": ["loudness", "music", "signal", "intelligibility", "wer", "panns"]}
    text = copy.run("--", "metrics")
    assert "rule evaluate" in text and "rule separate" not in text and "rule loudness" not in text
    assert changed(before, computed(copy)) == dict.fromkeys(STAGES, 0) and copy.outputs() == outputs
    items = {row["input"]: row for row in copy.metrics()["items"]}
    assert (
        items["four.wav"]["wer"] >= 0
        and items["four.wav"]["wer_clean"] >= 0
        and "wer_open_in" in items["four.wav"]["heard"]
    )
    assert "transcript" in items["five.wav"]["missing"]["wer"]
    assert "panns_cnn14" in items["five.wav"]["missing"]["music_presence"]
    assert len(copy.computed("evaluate/wer")) == 6  # two items; mixture, output, reference


def test_panns_weights_that_are_here_are_used_and_only_they_are_new(copy: Workspace):
    copy.config["evaluate"] = {"metrics": ["loudness", "signal", "panns"]}
    copy.run()
    assert all("music_presence" in row["missing"] for row in copy.metrics()["items"] if row["status"] == "ok")
    before = computed(copy)
    write_random_panns(copy.folder / "artifacts/models/panns_cnn14")
    with open(copy.folder / "models.yaml", "a") as file:
        file.write(
            "  panns_cnn14:\n    kind: panns\n    task: panns\n    source: https://example.invalid\n    licence: CC-BY-4.0\n"
            "    files: [{name: Cnn14_mAP=0.431.pth}, {name: class_labels_indices.csv}]\n"
        )
    copy.run()
    assert changed(before, computed(copy)) == dict.fromkeys(STAGES, 0)
    for row in copy.metrics()["items"]:
        if row["status"] == "ok":
            assert 0 <= row["music_presence"] <= 1 and 0 <= row["speech_presence_in"] <= 1
    assert "panns_cnn14" in (copy.folder / "artifacts/report/summary.md").read_text()
