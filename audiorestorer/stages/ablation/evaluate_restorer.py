"""Measure a restorer on degraded items with their clean side: a checkpoint, the classical click repair, or doing nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.dsp import click_repair
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import inside, read_rows, write_json
from audiorestorer.metrics import Missing
from audiorestorer.metrics.artefacts import impulse_removal, transient_preservation
from audiorestorer.metrics.files import Signals
from audiorestorer.metrics.groups.signal import GROUP as SIGNAL
from audiorestorer.metrics.signal import composite
from audiorestorer.models.mask_unet import load_checkpoint
from audiorestorer.store import sha256_file

METHODS = ("input", "click_repair")
PROGRESS_EVERY = 16
Restore = Callable[[Audio, int], Audio]


class TestRow(BaseModel):
    """A row that `make-degraded` wrote."""

    __test__ = False
    model_config = ConfigDict(extra="allow")

    id: str = Field(min_length=1)
    condition: str = Field(min_length=1)
    clean: str
    noisy: str
    starts: list[int]
    widths_sec: list[float]


def run(
    manifest: Path,
    out_json: Path,
    *,
    checkpoint: Path | None = None,
    method: str | None = None,
    row: str | None = None,
    seed: int | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Restore each item, and write its figures.

    Args:
        manifest: `test.jsonl` of `make-degraded`.
        checkpoint: of a mask network, or `method`: one of METHODS.
        row, seed: what the result is called in a table; `row` is the method's name where it is left out.

    Returns:
        What the JSON holds: row, seed, sha256 of the checkpoint, and `items`, each with its figures and the reasons for those that
        are missing.

    Raises:
        AudioRestorerError: neither or both of checkpoint and method, a manifest that cannot be used, or a rate that differs.
    """
    if (checkpoint is None) == (method is None) or (method is not None and method not in METHODS):
        raise AudioRestorerError(f"evaluate-restorer: give either --checkpoint or --method ({', '.join(METHODS)})")
    torch.set_num_threads(threads)
    restore = _network(checkpoint) if checkpoint else _classical(str(method))
    rows = [item for _, item in read_rows(manifest, TestRow)]
    if not rows:
        raise AudioRestorerError(f"{manifest}: no test items")
    items = []
    for number, item in enumerate(rows, 1):
        items.append(_measured(item, manifest.parent, restore))
        if number % PROGRESS_EVERY == 0 or number == len(rows):
            print(f"measured {number}/{len(rows)}", flush=True)
    result = {
        "row": row or method or Path(str(checkpoint)).stem, "seed": seed,
        "sha256": sha256_file(checkpoint) if checkpoint else None, "items": items,
    }  # fmt: skip
    write_json(out_json, result, indent=1, allow_nan=False)
    return result


def measure(clean: Audio, noisy: Audio, output: Audio, rate: int, item: TestRow) -> dict[str, Any]:
    """An item's figures by name, and `missing`: the reasons for those that cannot be computed. All `[1, T]`, aligned."""
    figures = SIGNAL.measure(Signals(noisy, output, clean, rate))
    values, missing = figures.values, figures.missing
    found = {name: values.get(name) for name in ("si_sdr_db", "si_sdr_improvement_db", "lsd_db", "composite")}
    if "lsd_db" in values and "lsd_in_db" in values:
        found["lsd_improvement_db"] = values["lsd_in_db"] - values["lsd_db"]
    if "composite" in values:
        found["composite_gain"] = values["composite"] - composite(0.0, 0.0, 1.0)  # what the unchanged input gets
    try:
        starts, widths = np.asarray(item.starts, np.int64), np.asarray(item.widths_sec, np.float64)
        found["impulse_removal"] = impulse_removal(clean, noisy, output, starts, rate, widths).rate
    except Missing as reason:
        missing["impulse_removal"] = str(reason)
    try:
        kept_now = transient_preservation(clean, output, rate).value
        found["transient_preservation"] = kept_now
        found["transient_improvement"] = kept_now - transient_preservation(clean, noisy, rate).value
    except Missing as reason:
        missing["transient_preservation"] = str(reason)
    kept = {name: round(float(value), 5) for name, value in found.items() if value is not None and np.isfinite(value)}
    return {**kept, "missing": {name: reason for name, reason in missing.items() if "music" not in name}}


def _measured(item: TestRow, base: Path, restore: Restore) -> dict[str, Any]:
    clean, rate = audio.read(inside(base, item.clean))
    noisy, noisy_rate = audio.read(inside(base, item.noisy))
    if rate != noisy_rate or clean.shape != noisy.shape or clean.shape[0] != 1:
        raise AudioRestorerError(f"{base / item.noisy}: not mono, or not of its clean recording's rate and length")
    output = restore(noisy, rate)
    return {"id": item.id, "condition": item.condition, **measure(clean, noisy, output, rate, item)}


def _network(checkpoint: Path) -> Restore:
    network, metadata = load_checkpoint(checkpoint)

    def restore(noisy: Audio, rate: int) -> Audio:
        if rate != metadata["sample_rate"]:
            raise AudioRestorerError(f"{checkpoint}: for {metadata['sample_rate']} Hz, the test items have {rate} Hz")
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(noisy)[None])[0].float().numpy(), np.float32)

    return restore


def _classical(method: str) -> Restore:
    if method == "click_repair":
        return lambda noisy, rate: np.asarray(click_repair.repair(noisy, rate), np.float32)
    return lambda noisy, rate: noisy
