"""The shard loop keeps nothing of an item: handles, memory that Python allocates, files beside the store's entries."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.manifest import Item
from audiorestorer.stages.shard import ItemResult, Stage, run_shard
from audiorestorer.store import sha256_file
from tests.faults import containers
from tests.faults.chain import Chain
from tests.faults.heap import malloc_bytes, python_blocks

ROUNDS, EACH = 6, 30  # the first two rounds fill caches
CHAIN_ITEMS, MALLOC_BYTES, BLOCKS = 16, 2000, 50  # a round; growth an item: the chain's own is printed by `-s`
GROWTH_BYTES = 400  # an item; a row that is kept takes more


def halved(_: None, item: Item, folder: Path) -> ItemResult:
    info = audio.probe(item.noisy)
    target = folder / "half.wav"
    audio.write_blocks(target, (0.5 * block for block in audio.blocks(item.noisy)), info.sample_rate, info.channels)
    return ItemResult({target.name: target}, {"gain": 0.5})


@pytest.mark.parametrize("threads", [1, 3])
def test_180_items_leave_no_handles_no_memory_and_no_files_behind(tmp_path: Path, threads: int) -> None:
    stage: Stage[None] = Stage(
        name="halve", settings={}, code="c", load=lambda: None, process=halved, in_work=lambda _: threads,
        describe=lambda entry, item: item.updated(path=str(entry.files["half.wav"]), sha256=entry.sha256["half.wav"]),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    handles, held = [], []
    tracemalloc.start()
    try:
        for number in range(ROUNDS):
            rows = []
            for index in range(EACH):
                path = tmp_path / f"{number}_{index}.wav"
                sf.write(path, 0.1 * rng.standard_normal(800), 8000)
                rows.append(Item(id=path.stem, noisy=str(path), path=str(path), sha256=sha256_file(path), duration=0.1))
            made = run_shard(stage, rows, tmp_path / "m" / f"{number}.jsonl", tmp_path / "store")
            assert all(sf.info(row.path).frames == 800 for row in made)
            del rows, made
            gc.collect()
            handles.append(len(os.listdir("/proc/self/fd")))
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(handles[1:]) == handles[1], handles
    steps = np.diff(held[1:])  # of rounds; the median, for what is imported once in one of them is no leak
    assert np.median(steps) < EACH * GROWTH_BYTES, held
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) == 2 * ROUNDS * EACH and not list((tmp_path / "store").rglob(".*"))


@pytest.mark.skipif(malloc_bytes() is None, reason="malloc does not say what it has given out (glibc 2.33 does)")
@pytest.mark.slow
def test_the_chain_keeps_nothing_of_an_item(tmp_path: Path) -> None:
    """All stages and libraries in one process, on tiny models: what the allocators have given out stays level.

    safetensors 0.8 keeps two small objects a tensor that it reads, and the models are loaded anew each round: this is in the bound.
    """
    chain = Chain.tiny(tmp_path)
    malloc, blocks = [], []
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        (folder / "input").mkdir(parents=True)
        for index in range(CHAIN_ITEMS):
            wave = containers.voice(0.3 + 0.01 * (index % 4)) * (1 + 0.01 * number + 0.001 * index)
            (folder / "input" / f"{index}.wav").write_bytes(containers.wav(containers.pcm16(wave)))
        assert sum(row.ok for row in chain.ingest(folder)) == CHAIN_ITEMS
        assert all(row.published for row in chain.render(folder))
        malloc.append(malloc_bytes() or 0)
        blocks.append(python_blocks())
    grown = [float(np.median(np.diff(held[1:]))) / CHAIN_ITEMS for held in (malloc, blocks)]
    print(f"an item: {grown[0]:.0f} bytes of malloc, {grown[1]:.1f} blocks of Python")
    assert grown[0] < MALLOC_BYTES and grown[1] < BLOCKS, (malloc, blocks)
