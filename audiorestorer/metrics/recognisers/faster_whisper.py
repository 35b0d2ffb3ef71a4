"""Whisper through faster-whisper (CTranslate2): a folder with model.bin, config.json, tokenizer.json and the vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics.context import Context

MULTILINGUAL_TOKENS = (
    51_865  # of Whisper's vocabulary with all languages; CTranslate2 tells them apart by the same number
)


def languages(context: Context) -> frozenset[str] | None:
    """English of the `.en` models, any of the others."""
    assert context.recogniser is not None
    for file in context.recogniser["files"]:
        if Path(file["path"]).name.startswith("vocabulary."):
            return None if _tokens(Path(file["path"])) >= MULTILINGUAL_TOKENS else frozenset(("en",))
    return frozenset(("en",))


def _tokens(path: Path) -> int:
    """Raises AudioRestorerError: unreadable."""
    try:
        text = path.read_text(encoding="utf-8")
        return len(json.loads(text)) if path.suffix == ".json" else text.count("\n") + (not text.endswith("\n"))
    except (OSError, ValueError) as error:
        raise AudioRestorerError(f"{path}: not a vocabulary of Whisper: {error}") from error


def load(context: Context, language_model: str) -> Any:
    """Greedy decoding without temperature fallback and without the text of the utterance before: equal audio gives equal text.
    Multilingual models find each utterance's language themselves.

    Raises:
        AudioRestorerError: the files are not one CTranslate2 Whisper model.
    """
    from faster_whisper import WhisperModel

    assert context.recogniser is not None
    folders = {Path(file["path"]).parent for file in context.recogniser["files"]}
    if len(folders) != 1:
        raise AudioRestorerError(f"model {context.recogniser['name']}: its files must lie in one folder")
    if not any(Path(file["path"]).name == "tokenizer.json" for file in context.recogniser["files"]):
        raise AudioRestorerError(
            f"model {context.recogniser['name']}: lacks tokenizer.json (faster-whisper would download one)"
        )
    language = None if languages(context) is None else "en"
    on_gpu = context.device.startswith("cuda")
    try:
        model = WhisperModel(
            str(folders.pop()), device="cuda" if on_gpu else "cpu", compute_type="float16" if on_gpu else "int8",
            cpu_threads=context.threads, local_files_only=True,
        )  # fmt: skip
    except (RuntimeError, ValueError, OSError) as error:
        raise AudioRestorerError(f"model {context.recogniser['name']}: {error}") from error

    def recognise(utterance: Audio) -> str:
        segments, _ = model.transcribe(
            utterance, language=language, beam_size=1, temperature=0.0, condition_on_previous_text=False, without_timestamps=True,
        )  # fmt: skip
        return " ".join(segment.text.strip() for segment in segments)

    return recognise
