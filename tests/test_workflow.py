"""The chain and the workflow's policy, without Snakemake."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audiorestorer import resources, workflow
from audiorestorer.chain import CHAIN, ChainStage, check_chain
from audiorestorer.config import Config, Settings, validate
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.models import registry
from audiorestorer.resources import Cost
from audiorestorer.workflow import Workflow

REGISTRY = registry.load(Path(__file__).parents[1] / "config/models.yaml")
COMMANDS = {stage.name for stage in CHAIN}


def flow(**values: Any) -> Workflow:
    return Workflow(validate(Config, values, "config"), REGISTRY)


def names(run: Workflow) -> list[str]:
    return [stage.name for stage in run.looped]


def inputs(run: Workflow, name: str) -> list[str]:
    return [path.split("/")[-2] for path in run.inputs_of(run.stage(name))]


def test_each_stage_reads_what_the_one_before_it_made():
    both = {"denoise": {"enabled": True}, "postmask": {"enabled": True}}
    run = flow(separators=[{"name": name, "model": "pilot_sep_a"} for name in ("x", "y")], **both)
    assert names(run) == ["fuse", "denoise", "postmask", "loudness"]
    assert run.inputs_of(run.stage("fuse")) == [f"artifacts/manifests/separate/{name}/{{shard}}.jsonl" for name in "xy"]
    assert [inputs(run, name) for name in names(run)[1:]] == [["fuse"], ["denoise"], ["postmask"]]
    assert [path.split("/")[-2] for path in run.intermediates()] == ["x", "y", "fuse", "denoise", "postmask"]


@pytest.mark.parametrize(
    ("values", "off"),
    [
        ({"denoise": {"enabled": False}}, "denoise"),
        ({"denoise": {"model": None}}, "denoise"),
        ({"postmask": {"enabled": False}}, "postmask"),
        ({"enhance": {"enabled": False}}, "enhance"),
    ],
)
def test_a_stage_that_is_off_is_left_out_and_the_report_says_so(values: dict[str, Any], off: str):
    on = {name: {"enabled": True} for name in ("denoise", "postmask", "enhance")}
    run = flow(**{name: {**on.get(name, {}), **values.get(name, {})} for name in on})
    assert off not in names(run) and len(names(run)) == 4
    assert f"artifacts/manifests/{off}/{{shard}}.jsonl" not in run.intermediates()
    after = [stage.name for stage in CHAIN][[stage.name for stage in CHAIN].index(off) + 1]
    assert off not in inputs(run, after)
    sections = run.report_settings()
    assert sections[off] == {"enabled": False} and sections["fuse"]["method"] == "learned"
    assert list(sections) == [
        "ingest",
        "declip",
        "declick",
        "separators",
        "fuse",
        "denoise",
        "postmask",
        "enhance",
        "loudness",
        "evaluate",
        "snippets",
    ]


def test_later_stages_come_first_whatever_is_off():
    run = flow(denoise={"enabled": False})
    assert [run.priority(stage) for stage in CHAIN] == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_the_chain_is_whole():
    check_chain(COMMANDS)


class Wider(Config):
    forgotten: Settings = Settings()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "highpass"}, r"stages/highpass\.py: missing"),
        ({"section": "highpass"}, r"config\.py: Config has no section 'highpass'"),
        ({"cost": None}, r"chain\.py: CHAIN: 'postmask' has no cost"),
        ({"runs_network": True}, r"config\.py: the section 'postmask' names no `model`"),
        ({"name": "highpass", "section": "fuse"}, r"commands: no command 'highpass'"),
    ],
)
def test_what_was_forgotten_is_named_with_its_file(changes: dict[str, Any], message: str):
    chain = [dataclasses.replace(stage, **changes) if stage.name == "postmask" else stage for stage in CHAIN]
    with pytest.raises(AudioRestorerError, match=message):
        check_chain(COMMANDS, chain)


def test_a_section_without_a_stage_and_a_stage_after_the_last_are_refused():
    with pytest.raises(AudioRestorerError, match=r"chain\.py: CHAIN has no stage for the section 'forgotten'"):
        check_chain(COMMANDS, CHAIN, Wider)
    with pytest.raises(AudioRestorerError, match="'loudness'.* is not the last"):
        check_chain(COMMANDS, [*CHAIN, ChainStage("restore", section="", cost=Cost(1))])


def test_models_recognisers_and_digests_of_a_stage():
    run = flow(
        enhance={"enabled": True, "recogniser": "wav2vec2_base_960h"}, evaluate={"recogniser": "whisper_base_en"},
        denoise={"enabled": True},
    )  # fmt: skip
    denoise, enhance = run.stage("denoise"), run.stage("enhance")
    assert run.models_of(run.stage("fuse")) == {"model": "pilot_fusion"}
    assert run.models_of(denoise) == {"model": "pilot_denoiser"}
    assert run.models_of(enhance) == {
        "model": "pilot_extension", "recogniser": "wav2vec2_base_960h",
    }  # fmt: skip
    other = flow(enhance={"enabled": True, "model": "pilot_enhancer"})
    assert "denoiser" not in other.models_of(enhance) and other.enhancer_models() == {"model": "pilot_enhancer"}
    assert flow(enhance={"denoiser": None}).enhancer_models() == {"model": "pilot_extension"}
    denoised = flow(enhance={"denoiser": "deepfilternet3"}).enhancer_models()
    assert denoised == {"model": "pilot_extension", "own": "deepfilternet3"}
    assert run.networks() == [
        "pilot_sep_a",
        "pilot_sep_b",
        "deepfilternet3",
        "pilot_fusion",
        "pilot_denoiser",
        "pilot_extension",
    ]
    assert run.cost_of(denoise) == resources.MASK_NETWORK and run.cost_of(enhance) == resources.EXTENSION
    ungated = flow(enhance={"enabled": True, "max_wer": None})
    assert "recogniser" not in ungated.models_of(enhance) and ungated.code_of(enhance) != run.code_of(enhance)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"separators": [{"name": "a", "model": "nobody"}]}, "no model 'nobody'"),
        ({"separators": [{"name": "a", "model": "pilot_enhancer"}]}, r"separators\.0\.model: model pilot_enhancer"),
        ({"denoise": {"enabled": True, "model": "pilot_enhancer"}}, r"denoise\.model: model pilot_enhancer"),
        ({"enhance": {"enabled": True, "model": "pilot_denoiser"}}, r"enhance\.model: model pilot_denoiser"),
        ({"enhance": {"enabled": True, "denoiser": "pilot_fusion"}}, r"enhance\.denoiser: model pilot_fusion"),
        ({"evaluate": {"recogniser": "pilot_denoiser"}}, "recogniser: model pilot_denoiser"),
    ],
)
def test_a_model_for_something_else_ends_the_start(values: dict[str, Any], message: str):
    with pytest.raises(AudioRestorerError, match=message):
        flow(**values)
    if "denoise" in values:
        flow(denoise={**values["denoise"], "enabled": False})


def test_a_fusion_network_serves_the_separators_that_it_was_trained_for_and_no_others():
    known = [{"name": name, "model": name} for name in ("deepfilternet3", "pilot_sep_b", "pilot_sep_a")]
    assert flow().cfg.fuse.method == flow(separators=known).cfg.fuse.method == "learned"
    other = flow(separators=known[:2])
    assert other.cfg.fuse.method == "average" and other.models_of(other.stage("fuse")) == {}
    assert other.notes == [
        "fuse: pilot_fusion was trained for pilot_sep_a, pilot_sep_b, deepfilternet3: the estimates are averaged"
    ]
    alone = flow(separators=known[:1])
    assert alone.cfg.fuse.method == "average" and alone.notes == []
    assert flow(separators=known[:1], fuse={"method": "max"}).cfg.fuse.method == "max"
    with pytest.raises(AudioRestorerError, match="no model 'nobody'"):
        flow(separators=known[:1], fuse={"model": "nobody"})
    with pytest.raises(AudioRestorerError, match=r"fuse\.model: model pilot_denoiser is there to denoise"):
        flow(fuse={"model": "pilot_denoiser"})


def test_the_tagger_is_used_only_where_it_is_here(tmp_path: Path):
    run = flow(artifacts=str(tmp_path))
    assert run.evaluation_models == {}
    (tmp_path / "models").mkdir()
    (tmp_path / "models/panns_cnn14.json").write_text("{}")
    assert flow(artifacts=str(tmp_path)).evaluation_models == {"tagger": "panns_cnn14"}
    assert flow(artifacts=str(tmp_path), evaluate={"metrics": ["loudness"]}).evaluation_models == {}


def test_the_language_model_s_text(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "transcripts.tsv").write_text("path\ttranscript\n")
    given = str(tmp_path / "in")
    assert flow(input=given).sentences_file() == str(tmp_path / "transcripts.tsv")
    assert flow(input=given, evaluate={"sentences": "mine.txt"}).sentences_file() == "mine.txt"
    for evaluate in ({"language_model": "general"}, {"metrics": ["music"]}, {"recogniser": "whisper_base_en"}):
        assert flow(input=given, evaluate=evaluate).sentences_file() is None


def test_what_ingest_depends_on_is_in_its_parameter_and_nothing_else():
    assert flow().ingest_json() == flow(denoise={"wet": 0.1}, loudness={"target_lufs": -20}).ingest_json()
    assert flow().ingest_json() != flow(loudness={"format": "flac"}).ingest_json()
    assert json.loads(flow(exclude=["x"]).ingest_json())["exclude"] == ["x"]


def test_a_job_asks_for_what_its_shard_holds_and_for_twice_as_much_at_each_attempt(tmp_path: Path):
    run = flow(artifacts=str(tmp_path))
    needs = run.needs(Cost(100, channel=1.0))
    shard = SimpleNamespace(shard="0")
    unknown = needs["runtime"](shard, threads=1, attempt=1)
    write_manifest(tmp_path / "manifests/ingest/0.jsonl", [Item(id="a", noisy="a", duration=60.0, channels=1)])
    assert needs["runtime"](shard, threads=1, attempt=1) == resources.TIME_BASE_MIN + 4 < unknown
    assert [needs["mem_mb"](shard, threads=4, attempt=attempt) for attempt in (1, 2)] == [500, 1000]
    several = run.needs(Cost(100, channel=1.0), processes=4)
    assert [several["mem_mb"](shard, threads=threads, attempt=1) for threads in (1, 2, 8)] == [500, 600, 900]
    assert [workflow.growing(100, 7)["runtime"](None, attempt=attempt) for attempt in (1, 2, 3)] == [7, 14, 28]


def test_a_network_asks_for_a_gpu_where_there_may_be_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workflow.shutil, "which", lambda name: None)
    asked = {
        device: [flow(device=device).gpus(is_remote=remote) for remote in (False, True)]
        for device in ("auto", "cpu", "cuda:1")
    }
    assert asked == {"auto": [0, 1], "cpu": [0, 0], "cuda:1": [1, 1]}


def test_a_published_file_that_is_gone_makes_a_new_round(tmp_path: Path):
    run = flow(artifacts=str(tmp_path))
    assert run.publishing_round("0") == 0
    (tmp_path / "published/rounds").mkdir(parents=True)
    (tmp_path / "published/rounds/0").write_text("3\n")
    (tmp_path / "out.wav").write_bytes(b"")
    path = tmp_path / "manifests/publish/0.jsonl"
    write_manifest(path, [Item(id="a", noisy="a.wav").updated(published=str(tmp_path / "out.wav"))])
    assert run.publishing_round("0") == 3
    (tmp_path / "out.wav").unlink()
    assert run.publishing_round("0") == 4
    path.write_text("{")
    assert run.publishing_round("0") == 4


def test_archives_that_are_gone_are_counted(tmp_path: Path):
    run = flow(artifacts=str(tmp_path))
    assert run.absent_archives() == 0
    (tmp_path / "delivery").mkdir()
    (tmp_path / "delivery/a.zip").write_bytes(b"")
    Path(run.delivery).write_text("0 a.zip\n0 b c.zip\n")
    assert run.absent_archives() == 1
    Path(run.delivery).write_text("damaged\n")
    assert run.absent_archives() == -1


def test_one_run_at_a_time_in_a_folder(tmp_path: Path):
    first, second = flow(artifacts=str(tmp_path)), flow(artifacts=str(tmp_path))
    first.lock()
    with pytest.raises(AudioRestorerError, match="another run is working"):
        second.lock()
    assert first._lock is not None
    first._lock.close()
    second.lock()


def test_the_progress_counts_jobs_of_stages_alone():
    run = flow(evaluate={"metrics": ["loudness", "music"]})
    written = [
        ("artifacts/manifests/separate/a/1.jsonl", "1"),
        ("artifacts/manifests/evaluate/0.jsonl", "0"),
        ("artifacts/x", ""),
    ]
    jobs = list(run.stage_jobs(written, {"0": 5, "1": 6}))
    assert [(job.stage, job.items, job.parts) for job in jobs] == [("separate/a", 6, 1), ("evaluate", 5, 3)]


def test_files_that_stayed_are_named_with_their_remedy(tmp_path: Path):
    path = tmp_path / "output.json"
    assert workflow.kept_lines(str(path)) == []
    kept = [{"file": f"{number}.wav", "reason": "changed"} for number in range(7)]
    path.write_text(json.dumps({"kept": kept, "stale": []}))
    lines = workflow.kept_lines(str(path))
    assert len(lines) == 6 and lines[0] == "0.wav: kept: changed" and lines[5].startswith("7 files were kept")


def test_files_are_looked_up_beside_the_snakefile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, here = tmp_path / "root", tmp_path / "here"
    for folder in (root, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    (root / "both").touch()
    (root / "theirs").touch()
    (here / "both").touch()
    found = {name: workflow.located(name, str(root), is_own=False) for name in ("both", "theirs", "none")}
    assert found == {"both": "both", "theirs": os.path.join(root, "theirs"), "none": "none"}
    assert workflow.located("both", str(root), is_own=True) == os.path.join(root, "both")


def test_texts_and_settings_of_another_workflow():
    assert workflow.texts({"a": ["x", {"b": "y"}], "c": 1}) == {"x", "y"}
    assert workflow.known_settings({"input": "a", "theirs": 1}) == {"input": "a"}


def test_an_empty_settings_file_is_refused(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("- a\n")
    with pytest.raises(AudioRestorerError, match="settings are needed"):
        workflow.check_settings_file(str(tmp_path / "c.yaml"))
