"""Parakeet, Canary, GigaAM, Whisper and others as ONNX, through onnx-asr and ONNX Runtime: no torch.

The folder of a model is as the publisher has it: `config.json`, which names its `model_type`, a vocabulary, and the networks. Where
the registry lists networks with `.int8.` in their names, these are taken.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.recognisers.faster_whisper import MULTILINGUAL_TOKENS

QUANTISED = "int8"
SPACE = "\u2581"  # of SentencePiece: a word begins


def languages(context: Context) -> frozenset[str] | None:
    """English where the vocabulary has no letter beyond ASCII (Whisper: no token for languages), any otherwise."""
    for path in _files(context):
        if path.name == "vocab.txt":
            return frozenset(("en",)) if _text(path).replace(SPACE, "").isascii() else None
        if path.name == "vocab.json":
            return frozenset(("en",)) if len(_json(path)) < MULTILINGUAL_TOKENS - 1 else None
    return None


def load(context: Context, language_model: str) -> Any:
    """The recogniser of the model's folder, on the CPU.

    Raises:
        AudioRestorerError: the files are not one model that onnx-asr knows.
    """
    import onnx_asr

    from audiorestorer.models.onnx_run import PROVIDERS, session_options

    assert context.recogniser is not None
    name, files = context.recogniser["name"], _files(context)
    folders = {path.parent for path in files}
    config = next((path for path in files if path.name == "config.json"), None)
    if len(folders) != 1 or config is None:
        raise AudioRestorerError(f"model {name}: its files must lie in one folder, with config.json among them")
    kind = _json(config).get("model_type")
    if not isinstance(kind, str) or "/" in kind:  # onnx-asr would look for a name with / on a hub
        raise AudioRestorerError(f"{config}: model_type: {kind!r:.60}: not a type that onnx-asr knows")
    quantised = QUANTISED if any(f".{QUANTISED}." in path.name for path in files) else None
    try:
        model = onnx_asr.load_model(
            kind,
            folders.pop(),
            quantization=quantised,
            sess_options=session_options(context.threads),
            providers=PROVIDERS,
        )
    except Exception as error:  # onnx-asr and ONNX Runtime raise whatever a damaged or foreign file leads to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AudioRestorerError(f"model {name}: {config.parent}: {reason:.300}") from error

    def recognise(utterance: Audio) -> str:
        return str(model.recognize(utterance, sample_rate=16_000)).strip()

    return recognise


def _files(context: Context) -> list[Path]:
    assert context.recogniser is not None
    return [Path(file["path"]) for file in context.recogniser["files"]]


def _text(path: Path) -> str:
    """Raises AudioRestorerError: unreadable."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise AudioRestorerError(f"{path}: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    """Raises AudioRestorerError: unreadable, or no object."""
    try:
        content = json.loads(_text(path))
    except ValueError as error:
        raise AudioRestorerError(f"{path}: no JSON: {error}") from error
    if not isinstance(content, dict):
        raise AudioRestorerError(f"{path}: not an object of names and values")
    return content
