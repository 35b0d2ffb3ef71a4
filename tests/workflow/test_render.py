"""The render half, run by snakemake for real on tiny models: what is computed, what is not, and what survives a kill."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.tiny_models import write_random_panns
from tests.workflow.conftest import RATE, ROOT, Workspace, copy_of, make_workspace, speechlike

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


@pytest.fixture(scope="module")
def edited(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished run of this file's own, whose tests each count what their own change computes."""
    return copy_of(finished, tmp_path_factory.mktemp("edited") / "w")


def test_of_new_changed_touched_files_and_a_deleted_output_what_is_new_is_computed(edited: Workspace):
    """In one run: the counts tell the two files that are new from those that are not."""
    before, outputs = computed(edited), edited.outputs()
    batch = edited.folder / "batch/input"
    for path in batch.rglob("*.wav"):
        path.touch()
    sf.write(batch / "new.wav", speechlike(99), RATE)
    sf.write(batch / "four.wav", speechlike(7), RATE)
    (edited.folder / "artifacts/output/five.wav").unlink()
    edited.render()
    assert changed(before, computed(edited)) == dict.fromkeys(STAGES, 2)
    after = edited.outputs()
    assert {name for name in after if after[name] != outputs.get(name)} == {"new.wav", "four.wav"}
    assert after.keys() == {*outputs, "new.wav"}, "the deleted output came back"


def test_a_deleted_output_and_touched_files_alone_compute_nothing(edited: Workspace):
    before, outputs = computed(edited), edited.outputs()
    for path in (edited.folder / "batch/input").rglob("*.wav"):
        path.touch()
    (edited.folder / "artifacts/output/x one.wav").unlink()
    edited.render()
    assert edited.outputs() == outputs and computed(edited) == before


def test_a_setting_computes_its_stage_and_what_follows_and_back_is_instant(edited: Workspace):
    before, outputs, items = computed(edited), edited.outputs(), len(edited.outputs())
    nothing = dict.fromkeys(STAGES, 0)
    edited.config["postmask"]["beta"] = 3.0
    edited.render()
    between = computed(edited)
    assert changed(before, between) == {**nothing, "postmask": items, "loudness": items, "evaluate/signal": items}
    assert edited.outputs() != outputs
    # beta goes back while the loudness changes: neither postmask nor separation is computed
    edited.config["postmask"]["beta"] = 1.0
    edited.config["loudness"] = {"target_lufs": -30.0}
    edited.render()
    louder = computed(edited)
    assert changed(between, louder) == {**nothing, "loudness": items, "evaluate/signal": items}
    assert edited.metrics()["summary"]["lufs"]["median"] == pytest.approx(-30, abs=0.1)
    # all settings are those of the first run, in other shards: nothing is computed
    del edited.config["loudness"]
    edited.config["shards"] = 3
    edited.render()
    assert computed(edited) == louder and edited.outputs() == outputs
    edited.config["shards"] = 2


def test_a_separator_fewer_and_a_changed_stage_s_code(edited: Workspace, tmp_path: Path):
    """What is left is only fused again; and, in a copy of the repository, for the code is what changes, that stage is made again."""
    before, items, separators = computed(edited), len(edited.outputs()), edited.config["separators"]
    house = copy_of_the_house(tmp_path / "house")
    stage = house / "audiorestorer/stages/postmask.py"
    stage.write_text(stage.read_text().replace("return speech * mask", "return speech * mask * np.float32(0.5)"))
    edited.house = house
    edited.render()
    between = computed(edited)
    new = changed(before, between)
    assert new["postmask"] == items and new["separate/a"] == new["fuse"] == new["denoise"] == 0
    edited.house = ROOT
    edited.config["separators"] = separators[:1]
    edited.render()
    new = changed(between, computed(edited))
    assert new["separate/a"] == new["separate/b"] == 0 and new["fuse"] == items
    edited.config["separators"] = separators


def copy_of_the_house(target: Path) -> Path:
    for name in ("audiorestorer", "rules", "config", "profiles", "envs", "report", "scripts"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", target)
    return target


def half_written(path: Path) -> None:
    """What a job leaves that is killed as it writes a file."""
    path.parent.mkdir(parents=True, exist_ok=True)  # a run killed early has not come to it
    script = (
        "import os, signal, sys; from pathlib import Path; from audiorestorer.temporaries import temporary_beside\n"
        "temporary_beside(Path(sys.argv[1])).write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT).returncode == -signal.SIGKILL
    assert [other for other in path.parent.iterdir() if other.name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("count", "forked"),
    [
        pytest.param(1, False, marks=pytest.mark.slow, id="at the first"),
        pytest.param(4, False, marks=pytest.mark.slow, id="at the fourth"),
        pytest.param(4, True, id="at the fourth, forked"),
    ],
)
def test_killed_in_the_middle_of_separation_it_goes_on_and_ends_the_same(
    finished: Workspace, tmp_path: Path, count: int, forked: bool
):
    workspace = make_workspace(tmp_path / "w")
    workspace.kill_when(workspace.start(forked=forked), "artifacts/store/separate/*/??/*.json", count)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "w/artifacts/store/separate").rglob("*.json")}
    assert len(kept) >= count and not (tmp_path / "w/artifacts/output").exists()
    half_written(tmp_path / "w/artifacts/manifests/separate/a/0.jsonl")
    workspace.run()
    assert workspace.outputs() == finished.outputs()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a finished item was computed again"
    # a folder of the store whose items are all there is not written into again: what lies there is for `store prune`
    left = [path for path in (tmp_path / "w/artifacts").rglob("*.tmp") if "store" not in path.parts]
    assert not left, "what the killed run left half-written is gone after the next one"


def test_without_intermediates_the_result_is_the_same_and_the_store_small(finished: Workspace, tmp_path: Path):
    workspace = make_workspace(tmp_path / "w")
    workspace.config["keep_intermediates"] = False
    workspace.run()
    assert workspace.outputs() == finished.outputs()
    for stage in ("separate/a", "separate/b", "fuse", "denoise", "postmask"):
        assert not workspace.computed(stage), stage
    assert not list((tmp_path / "w/artifacts/store").glob("[sfdp]*/**/*.wav"))
    assert "Nothing to be done" in workspace.run()


def test_evaluation_alone_does_not_touch_the_rendering(edited: Workspace):
    edited.render()
    before = computed(edited)
    stamp = {path: path.stat().st_mtime_ns for path in (edited.folder / "artifacts/manifests/loudness").glob("*")}
    text = edited.run("--allowed-rules", "evaluate", "collect", "metrics", "--forcerun", "evaluate", "--", "metrics")
    assert "rule evaluate" in text and "rule loudness" not in text and "rule separate" not in text
    assert computed(edited) == before and {path: path.stat().st_mtime_ns for path in stamp} == stamp


def test_the_report_is_one_file_that_holds_the_results(finished: Workspace):
    finished.run("--report", str(finished.folder / "report.html"))
    text = (finished.folder / "report.html").read_text()
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
    workspace.config |= {"shards": 1, "evaluate": {"metrics": ["loudness"]}}
    workspace.render()
    out, rate = sf.read(workspace.folder / "artifacts/output/st.wav")
    assert rate == 48_000 and out.shape == (len(left), 2)
    assert np.sum(out[:, 1] ** 2) / np.sum(out[:, 0] ** 2) == pytest.approx(0.25, rel=0.1)
    assert json.loads((workspace.folder / "artifacts/eval/metrics.json").read_text())["counts"]["ok"] == 2


def test_a_metric_more_computes_only_that_metric_and_renders_nothing(edited: Workspace):
    """Words; and tags whose tagger's weights are not here."""
    (edited.folder / "batch/transcripts.tsv").write_text("path\ttranscript\nfour.wav\thello world\n")
    edited.render()
    before, outputs = computed(edited), edited.outputs()
    edited.config["evaluate"] = {"metrics": ["loudness", "music", "signal", "intelligibility", "wer", "panns"]}
    text = edited.run("--", "metrics")
    assert "rule evaluate" in text and "rule separate" not in text and "rule loudness" not in text
    assert computed(edited) == before and edited.outputs() == outputs
    items = {row["input"]: row for row in edited.metrics()["items"]}
    heard = items["four.wav"]
    assert heard["wer"] >= 0 and heard["wer_clean"] >= 0 and "wer_in" in heard["heard"]
    assert "transcript" in items["five.wav"]["missing"]["wer"]
    assert all("panns_cnn14" in row["missing"]["music_presence"] for row in items.values() if row["status"] == "ok")
    assert len(edited.computed("evaluate/wer")) == 3  # mixture, output, reference


@pytest.mark.slow
def test_a_tagger_s_weights_that_are_here_are_used_and_nothing_is_rendered(edited: Workspace):
    """The weights are 327 MB of random numbers."""
    before, outputs = computed(edited), edited.outputs()
    write_random_panns(edited.folder / "artifacts/models/panns_cnn14")
    with open(edited.folder / "models.yaml", "a") as file:
        file.write(
            "  panns_cnn14:\n    kind: panns\n    task: panns\n    source: https://example.invalid\n    licence: CC-BY-4.0\n"
            "    files: [{name: Cnn14_mAP=0.431.pth}, {name: class_labels_indices.csv}]\n"
        )
    edited.config["evaluate"] = {"metrics": ["loudness", "signal", "panns"]}
    edited.run()
    assert computed(edited) == before and edited.outputs() == outputs
    for row in edited.metrics()["items"]:
        if row["status"] == "ok":
            assert 0 <= row["music_presence"] <= 1 and 0 <= row["speech_presence_in"] <= 1
    assert "panns_cnn14" in (edited.folder / "artifacts/report/summary.md").read_text()
