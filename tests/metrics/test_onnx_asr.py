"""Recognisers as ONNX: a network in NeMo's format that hears an `a` where it is loud, and folders that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.models import registry

pytest.importorskip("onnx_asr", reason="needs onnx-asr")
RATE, BANDS, STRIDE = 16_000, 80, 8
ROOT = Path(__file__).parents[2]


def write_model(folder: Path, letter: str = "a", name: str = "model.onnx", **config: Any) -> Context:
    """A CTC network: the mean of eight frames of all bands says whether a step is the letter or the blank."""
    folder.mkdir(parents=True, exist_ok=True)
    kernel = np.stack([np.full((BANDS, STRIDE), sign / (BANDS * STRIDE)) for sign in (10.0, -10.0)]).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["audio_signal", "kernel"], ["steps"], strides=[STRIDE], pads=[0, STRIDE - 1]),
        helper.make_node("Transpose", ["steps"], ["logits"], perm=[0, 2, 1]),
        helper.make_node("LogSoftmax", ["logits"], ["logprobs"], axis=-1),
    ]
    inputs = [
        helper.make_tensor_value_info("audio_signal", TensorProto.FLOAT, ["B", BANDS, "T"]),
        helper.make_tensor_value_info("length", TensorProto.INT64, ["B"]),
    ]
    outputs = [helper.make_tensor_value_info("logprobs", TensorProto.FLOAT, ["B", "S", 2])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [numpy_helper.from_array(kernel, "kernel")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / name).write_bytes(model.SerializeToString())
    (folder / "vocab.txt").write_text(f"\u2581{letter} 0\n<blk> 1\n", encoding="utf-8")
    (folder / "config.json").write_text(
        json.dumps({"model_type": "nemo-conformer-ctc", "features_size": BANDS} | config)
    )
    return context_of(folder, "config.json", "vocab.txt", name)


def context_of(folder: Path, *names: str) -> Context:
    files = [{"path": str(folder / name)} for name in names]
    return Context(recogniser={"name": "tiny", "kind": "onnx_asr", "digest": "d", "files": files})


def bursts(count: int) -> np.ndarray:
    """So many half seconds of noise, with half a second of near silence around each."""
    rng = np.random.default_rng(0)
    half = RATE // 2
    quiet = [1e-4 * rng.standard_normal(half) for _ in range(count + 1)]
    loud = [0.3 * rng.standard_normal(half) for _ in range(count)]
    return np.concatenate([part for pair in zip(quiet, [*loud, []], strict=True) for part in pair]).astype(np.float32)


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_it_hears_what_is_there_and_nothing_in_silence(tmp_path: Path, name: str) -> None:
    context = write_model(tmp_path / "m", name=name)
    hear = recognisers.load(context, "own")
    assert [hear(bursts(count)) for count in (1, 3)] == ["a", "a a a"]
    assert hear(bursts(3)) == hear(bursts(3))
    assert recognisers.rate(context, "a a a", hear(bursts(3))) == 0


def test_languages_are_those_of_the_vocabulary(tmp_path: Path) -> None:
    assert recognisers.languages(write_model(tmp_path / "en")) == {"en"}
    assert recognisers.languages(write_model(tmp_path / "many", "ü")) is None
    for size, known in ((51_863, {"en"}), (51_865, None)):
        (tmp_path / "vocab.json").write_text(json.dumps({str(number): number for number in range(size)}))
        assert recognisers.languages(context_of(tmp_path, "vocab.json")) == known


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "some/name"}, "model_type: 'some/name': not a type"),
        ({"model_type": None}, "model_type: None: not a type"),
        ({"model_type": "resnet"}, "tiny: .*resnet"),
    ],
)
def test_a_type_that_is_unknown_or_looks_to_a_hub_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(AudioRestorerError, match=said):
        recognisers.load(write_model(tmp_path / "m", **change), "own")


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x80\x04\x95pickle"])
def test_damaged_networks_name_the_model(tmp_path: Path, content: bytes) -> None:
    context = write_model(tmp_path / "m")
    (tmp_path / "m/model.onnx").write_bytes(content)
    with pytest.raises(AudioRestorerError, match="model tiny: "):
        recognisers.load(context, "own")


def test_a_folder_without_config_or_with_files_elsewhere_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m")
    for context in (
        context_of(tmp_path / "m", "vocab.txt", "model.onnx"),
        context_of(tmp_path, "m/config.json", "x.txt"),
    ):
        with pytest.raises(AudioRestorerError, match=r"one folder, with config\.json"):
            recognisers.load(context, "own")
    for text in ("[]", "{"):
        (tmp_path / "m/config.json").write_text(text)
        with pytest.raises(AudioRestorerError, match=r"config\.json: (no JSON|not an object)"):
            recognisers.load(context_of(tmp_path / "m", "config.json", "model.onnx"), "own")


def test_the_registry_s_entries_are_of_this_kind() -> None:
    models = registry.load(ROOT / "config/models.yaml").models
    assert {models[name].kind for name in ("parakeet_tdt_0_6b_v2", "whisper_base_onnx")} == {"onnx_asr"}
