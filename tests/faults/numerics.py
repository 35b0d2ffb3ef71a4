"""How far a result depends on what it should not depend on: level, neighbours, shards, threads, blocks; and what silence gives.

    python -m tests.faults.numerics FOLDER --json RESULTS.json

Each figure is the largest difference over all samples, relative to the largest sample of the result (dB); -inf is no difference in
any bit, and is written as null. Tolerances are in `LIMITS_DB`: `test_numerics.py` holds the figures against them.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.manifest import Item
from tests.faults.chain import RENDERED, Chain
from tests.faults.containers import voice

Signals = dict[str, tuple[np.ndarray, int]]  # [C, T] and rate
Stems = dict[str, dict[str, np.ndarray]]  # stage -> item -> [C, T]
CHAINS: dict[str, Callable[..., Chain]] = {
    "mask networks": Chain.tiny,
    "HTDemucs": Chain.demucs,
    "pilot models": Chain.pilot,
}
EXACT = -math.inf
LIMITS_DB = {
    "the same again": EXACT, "3 shards instead of 1": EXACT, "blocks of 0.37 s instead of 10 s": EXACT,
    "alone instead of with others": -100.0, "2 threads instead of 1": -95.0, "batch of 1 instead of 4": -100.0,
    "x 100": -90.0, "x 0.01": -90.0, "x 0.001": -90.0, "silence": EXACT, "silence after speech": EXACT, "a silent channel": EXACT,
}  # fmt: skip
# a rounding (bfloat16, a limiter's decision) is not asked of these: float32 networks on a CPU, gains within max_gain_db
QUIET = {"loudness": {"max_gain_db": 80.0, "subtype": "FLOAT"}, "ingest": {"silence_dbfs": -300.0}}
SMALL = {
    "separator": {"segment_sec": 0.7, "backend": "torch", "precision": "float32"},
    "denoise": {"segment_sec": 1.0},
    "fuse": {"method": "max", "power": 2.0},  # what the table in docs/lab/reliability.md was measured with
    **QUIET,
}


def signals(gain: float = 1.0) -> Signals:
    """Speech with hiss at two rates, mono and stereo of unequal channels."""
    rng = np.random.default_rng(3)
    mono = voice(2.3, 22_050)[None] + 0.02 * rng.standard_normal((1, round(2.3 * 22_050)))
    left = voice(1.7, 44_100) + 0.02 * rng.standard_normal(round(1.7 * 44_100))
    stereo = np.stack([left, 0.4 * np.roll(left, 30)])
    found = {"mono": (mono, 22_050), "stereo": (stereo, 44_100)}
    return {name: ((gain * x).astype(np.float32), rate) for name, (x, rate) in found.items()}


def rendered(chain: Chain, folder: Path, given: Signals) -> Stems:
    """What each stage gives for each recording, as float32."""
    for name, (x, rate) in given.items():
        audio.write(folder / "input" / f"{name}.wav", x, rate)
    chain.ingest(folder)
    chain.render(folder)
    stages = {stage: chain.rows(folder, stage) for stage in ("a", "b", *RENDERED)}
    return {stage: {row.id: _samples(row) for row in rows} for stage, rows in stages.items()}


def _samples(row: Item) -> np.ndarray:
    assert row.ok and row.path, row.reason
    return audio.read(row.path)[0]


def difference_db(found: Stems, wanted: Stems, gain: float = 1.0) -> dict[str, float]:
    """The largest difference of each stage; the stage `loudness` brings every level to the same one, so no gain is expected there."""
    worst = {}
    for stage, items in wanted.items():
        scale = 1.0 if stage == "loudness" else gain
        parts = [
            np.abs(found[stage][name].astype(np.float64) / scale - x).max() / max(np.abs(x).max(), 1e-30)
            for name, x in items.items()
        ]
        worst[stage] = 20 * math.log10(max(parts)) if max(parts) else EXACT
    return worst


@contextmanager
def blocks_of(seconds: float) -> Iterator[None]:
    """All reading in blocks of another size."""
    before = audio.BLOCK_SEC, audio.blocks
    audio.BLOCK_SEC, audio.blocks = seconds, partial(before[1], block_sec=seconds)  # type: ignore[assignment]
    try:
        yield
    finally:
        audio.BLOCK_SEC, audio.blocks = before


def figures(make: Callable[..., Chain], folder: Path) -> dict[str, dict[str, float]]:
    """Every figure of `LIMITS_DB` of one chain, stage by stage."""
    count = iter(range(100))

    def run(given: Signals, **more: Any) -> Stems:
        place = folder / str(next(count))
        place.mkdir(parents=True)
        return rendered(make(place, **{"measured": False, "changes": SMALL, **more}), place, given)

    given = signals()
    base = run(given)
    batch = {
        **SMALL,
        "separator": {**SMALL["separator"], "batch_size": 1},
        "denoise": {**SMALL["denoise"], "batch_size": 1},
    }
    alone = [run({name: signal}) for name, signal in given.items()]
    single: Stems = {stage: {name: x for part in alone for name, x in part[stage].items()} for stage in base}
    with blocks_of(0.37):
        blocked = run(given)
    return {
        "the same again": difference_db(run(given), base),
        "3 shards instead of 1": difference_db(run(given, shards=3), base),
        "blocks of 0.37 s instead of 10 s": difference_db(blocked, base),
        "alone instead of with others": difference_db(single, base),
        "2 threads instead of 1": difference_db(run(given, threads=2), base),
        "batch of 1 instead of 4": difference_db(run(given, changes=batch), base),
        "x 100": difference_db(run(signals(100.0)), base, 100.0),
        "x 0.01": difference_db(run(signals(0.01)), base, 0.01),
        "x 0.001": difference_db(run(signals(0.001)), base, 0.001),
        **silences(run),
    }


def silences(run: Callable[[Signals], Stems]) -> dict[str, dict[str, float]]:
    """Loudest sample (dB full scale) of what must be silent: a silent file, the end of one that ends in silence, a silent channel."""
    x, rate = signals()["mono"]
    gap = np.zeros((1, 3 * rate), np.float32)
    found = run(
        {
            "silent": (gap, rate),
            "ends": (np.concatenate([x, gap], axis=1), rate),
            "onesided": (np.concatenate([x, 0 * x]), rate),
        }
    )
    parts = {
        "silence": lambda items: items["silent"],
        "silence after speech": lambda items: items["ends"][:, -rate:],
        "a silent channel": lambda items: items["onesided"][1],
    }
    return {
        name: {stage: _dbfs(part(items)) for stage, items in found.items() if stage in RENDERED}
        for name, part in parts.items()
    }


def _dbfs(x: np.ndarray) -> float:
    assert np.isfinite(x).all()
    peak = float(np.abs(x).max())
    return 20 * math.log10(peak) if peak else EXACT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found = {name: figures(make, options.folder / name) for name, make in CHAINS.items()}
    rows = {
        name: {what: {s: None if v == EXACT else round(v, 1) for s, v in by.items()} for what, by in table.items()}
        for name, table in found.items()
    }
    options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
