"""Checkpoints of the enhancer or of parts of it: safetensors, settings as JSON. Loading executes nothing in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from audiorestorer.config import validate
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_bytes_atomic
from audiorestorer.models import torch_files, weights
from audiorestorer.models.enhancer.enhancer import PARTS, Enhancer
from audiorestorer.models.enhancer.settings import EnhancerSettings

ARCHITECTURE = "enhancer"
FORMAT_VERSION = 1
# the autoencoder's scales go with it
MEMBERS = {
    "denoiser": ("denoiser.",),
    "irmae": ("irmae.", "normaliser.", "z_scale"),
    "flow": ("flow.",),
    "vocoder": ("vocoder.",),
}


def save_checkpoint(
    path: str | Path, model: Enhancer, parts: Sequence[str], card: dict[str, Any], *, half: bool = True
) -> None:
    """Write one safetensors file, atomically.

    Args:
        model: not after `prepare`.
        parts: the trained ones among denoiser, irmae, flow, vocoder. Others are not stored.
        card: facts for a reader (data, steps, seed, figures); JSON types.
        half: store float16 weights (half the size; loaded as float32).

    Raises:
        AudioRestorerError: no part, or an unknown one.
    """
    _check_parts(parts, str(path))
    kept = {name: value for name, value in model.state_dict().items() if name.startswith(_prefixes(parts))}
    state = weights.packed(kept, "float16" if half else "float32")
    metadata = {
        "architecture": ARCHITECTURE,
        "format_version": str(FORMAT_VERSION),
        "task": "enhance",
        "parts": json.dumps([part for part in PARTS if part in parts]),
        "sample_rate": str(model.sample_rate),
        "config": json.dumps(model.settings.model_dump(mode="json"), sort_keys=True),
        "card": json.dumps(card, sort_keys=True),
    }
    write_bytes_atomic(path, weights.to_bytes(state, metadata))


def load_checkpoint(*paths: str | Path) -> tuple[Enhancer, dict[str, Any]]:
    """Read a checkpoint, or several of one configuration; where two hold a part, the later one counts.

    Returns:
        The enhancer (float32, `eval`) and the metadata of the last: architecture, format_version, task, sample_rate, config, card;
        `parts`: those of all files. Parts that no file holds are as they were initialised.

    Raises:
        AudioRestorerError: not a safetensors file, another architecture or configuration, missing or wrong weights; names the file.
    """
    model: Enhancer | None = None
    held: set[str] = set()
    metadata: dict[str, Any] = {}
    for path in map(Path, paths):
        state, raw = weights.read(path)
        settings, parts, card = _metadata(path, raw)
        if model is None:
            torch_files.check_size(partial(Enhancer, settings), str(path))
            model = Enhancer(settings)
        elif model.settings != settings:
            raise AudioRestorerError(f"{path}: another configuration than {paths[0]}")
        _fill(path, model, parts, state)
        held.update(parts)
        config = settings.model_dump(mode="json")
        metadata = {**raw, "format_version": FORMAT_VERSION, "sample_rate": model.sample_rate, "config": config}
        metadata["card"] = card
    if model is None:
        raise AudioRestorerError("no checkpoint to load")
    return model.eval(), {**metadata, "parts": [part for part in PARTS if part in held]}


def join_checkpoints(paths: Sequence[str | Path], out: str | Path) -> None:
    """Write the whole enhancer from checkpoints of its parts; where two hold a part, the later one counts. Each part keeps its card.

    Raises:
        AudioRestorerError: a part is in no file, or the files do not fit each other.
    """
    model, metadata = load_checkpoint(*paths)
    missing = [part for part in PARTS if part not in metadata["parts"]]
    if missing:
        raise AudioRestorerError(
            f"{', '.join(map(str, paths))}: no trained {', '.join(missing)}: nothing to enhance with"
        )
    cards: dict[str, Any] = {}
    for path in map(Path, paths):
        _, parts, card = _metadata(path, weights.read(path)[1])
        cards |= dict.fromkeys(parts, card)
    save_checkpoint(out, model, PARTS, {"parts": cards})


def _check_parts(parts: Sequence[str], where: str) -> None:
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise AudioRestorerError(f"{where}: parts {list(parts)}: needs one or more of {', '.join(PARTS)}")


def _prefixes(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(prefix for part in parts for prefix in MEMBERS[part])


def _metadata(path: Path, raw: dict[str, str]) -> tuple[EnhancerSettings, list[str], Any]:
    if raw.get("architecture") != ARCHITECTURE:
        raise AudioRestorerError(f"{path}: architecture {raw.get('architecture')!r}, expected {ARCHITECTURE!r}")
    if raw.get("format_version") != str(FORMAT_VERSION):
        raise AudioRestorerError(f"{path}: format_version {raw.get('format_version')!r}, expected {FORMAT_VERSION}")
    try:
        settings = validate(EnhancerSettings, json.loads(raw["config"]), "config")
        parts, card = json.loads(raw["parts"]), json.loads(raw.get("card", "{}"))
    except (KeyError, TypeError, ValueError, AudioRestorerError) as error:
        raise AudioRestorerError(f"{path}: bad config in the metadata: {error}") from error
    _check_parts(parts, str(path))
    return settings, parts, card


def _fill(path: Path, model: Enhancer, parts: list[str], state: dict[str, Tensor]) -> None:
    """Put a file's weights into the model; every number of its parts must be there, and nothing else."""
    wanted = {name: value for name, value in model.state_dict().items() if name.startswith(_prefixes(parts))}
    problems = sorted(set(wanted) ^ set(state)) or [
        name for name, value in wanted.items() if value.shape != state[name].shape
    ]
    if problems:
        shown = ", ".join(problems[:4])
        raise AudioRestorerError(f"{path}: weights do not fit the config: {shown} ({len(problems)} in all)")
    model.load_state_dict({name: value.to(wanted[name].dtype) for name, value in state.items()}, strict=False)
