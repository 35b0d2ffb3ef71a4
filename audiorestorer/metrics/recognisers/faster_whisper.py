"""Whisper through faster-whisper (CTranslate2): a folder with model.bin, config.json, tokenizer.json and the vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics.context import Context


def load(context: Context, language_model: str) -> Any:
    """Greedy decoding without temperature fallback and without the text of the utterance before: equal audio gives equal text.

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
            utterance, language="en", beam_size=1, temperature=0.0, condition_on_previous_text=False, without_timestamps=True,
        )  # fmt: skip
        return " ".join(segment.text.strip() for segment in segments)

    return recognise
