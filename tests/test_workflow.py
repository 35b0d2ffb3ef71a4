"""The chain and the workflow's policy, without Snakemake."""

from __future__ import annotations

import dataclasses
import json
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
    assert names(run) == ["declip", "fuse", "denoise", "postmask", "loudness"]
    assert inputs(run, "declip") == ["ingest"]
    assert run.inputs_of(run.stage("fuse")) == [f"artifacts/manifests/separate/{name}/{{shard}}.jsonl" for name in "xy"]
    assert [inputs(run, name) for name in names(run)[2:]] == [["fuse"], ["denoise"], ["postmask"]]
    assert [path.split("/")[-2] for path in run.intermediates()] == ["declip", "x", "y", "fuse", "denoise", "postmask"]


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
    assert off not in names(run) and len(names(run)) == 5
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
    assert [resources.growing(100, 7)["runtime"](None, attempt=attempt) for attempt in (1, 2, 3)] == [7, 14, 28]


def test_a_network_asks_for_a_gpu_where_there_may_be_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workflow.shutil, "which", lambda name: None)
    asked = {
        device: [flow(device=device).gpus(is_remote=remote) for remote in (False, True)]
        for device in ("auto", "cpu", "cuda:1")
    }
    assert asked == {"auto": [0, 1], "cpu": [0, 0], "cuda:1": [1, 1]}
