"""What a few hundred items compute, through the benchmark's own batch: cost a shard, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.bench import bench_scale
from tests import warm
from tests.workflow.conftest import environment


class Batch(bench_scale.Batch):
    """Whose commands start at once."""

    def command(self, *arguments: str) -> list[str]:
        return [str(warm.executable()), *super().command(*arguments)[1:]]


pytestmark = pytest.mark.slow  # test_render has the short form of each, on five items
ITEMS, SHARDS = 61, 2
NOTHING = dict.fromkeys(bench_scale.STAGES, 0)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Finished once; each test leaves it finished."""
    batch = Batch(tmp_path_factory.mktemp("scale") / "batch", ITEMS)
    batch.shards = SHARDS
    _, _, made = batch.new()
    assert made == dict.fromkeys(bench_scale.STAGES, ITEMS)
    return batch


def started(batch: Batch) -> dict[str, int]:
    """How many jobs of each rule a run would start."""
    done = warm.run(*batch.command("--dry-run", "--quiet", "host")[1:], env=environment())
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}


def test_a_finished_batch_starts_nothing(batch: Batch) -> None:
    assert "total" not in started(batch)
    assert batch.new()[2] == NOTHING


def test_a_file_more_is_one_item_and_one_shard(batch: Batch) -> None:
    batch.add(1)
    jobs = started(batch)
    assert jobs["ingest"] <= batch.shards and jobs["total"] > 0
    assert batch.new()[2] == dict.fromkeys(bench_scale.STAGES, 1)
    rows = [json.loads(line) for path in _manifests(batch, "loudness") for line in path.read_text().splitlines()]
    assert len(rows) == batch.items


def test_other_shards_compute_nothing(batch: Batch) -> None:
    batch.shards = 3
    assert batch.new()[2] == NOTHING
    assert len(_manifests(batch, "loudness")) == 3


def _manifests(batch: Batch, stage: str) -> list[Path]:
    return sorted((batch.folder / "artifacts/manifests" / stage).glob("*.jsonl"))
