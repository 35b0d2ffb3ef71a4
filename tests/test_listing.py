"""How a batch is divided into shards, and which of its recordings are a sample."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from audiorestorer.intake.listing import Batch, Found
from audiorestorer.manifest import draw


def batch(names: Sequence[str], texts: Sequence[str] | None = None) -> Batch:
    files = [Found(name, 1, 1) for name in names]
    transcripts = {name: {"transcript": "hello"} for name in (names if texts is None else texts)}
    return Batch(files, {name: name for name in names}, {}, transcripts, {}, [], [])


def names(count: int) -> list[str]:
    return [f"{number:05d}.wav" for number in range(count)]


@pytest.mark.parametrize(
    ("files", "cores", "shards"),
    [
        (1, 2, 1),
        (12, 2, 1),
        (64, 2, 1),
        (65, 2, 2),
        (10_000, 2, 157),
        (12, 64, 1),
        (40, 16, 4),
        (64, 64, 8),
        (12, None, 1),
    ],
)
def test_small_batches_have_one_shard_and_large_ones_64_files_in_each(
    files: int, cores: int | None, shards: int
) -> None:
    assert batch(names(files)).shard_count("auto", cores) == shards


def test_a_number_stands() -> None:
    assert batch(names(3)).shard_count(7, 2) == 7


def test_a_sample_is_exact_seeded_and_left_alone_by_files_outside_of_it() -> None:
    every = names(300)
    bound = batch(every).words_below(100, 0)
    assert bound is not None
    heard = {name for name in every if draw(name, 0) <= bound}
    assert len(heard) == 100
    more = [f"new{number}" for number in range(20)]
    outside = [name for name in more if draw(name, 0) > bound]
    assert outside and batch([*every, *outside]).words_below(100, 0) == bound
    other = batch(every).words_below(100, 1)
    assert other is not None and {name for name in every if draw(name, 1) <= other} != heard


def test_all_are_heard_where_they_are_few_or_asked_for_and_only_those_with_a_text_count() -> None:
    assert batch(names(100)).words_below(100, 0) is None
    assert batch(names(500)).words_below("all", 0) is None
    assert batch(names(500), names(500)[:90]).words_below(100, 0) is None
    bound = batch(names(500), names(500)[:200]).words_below(10, 0)
    assert bound is not None and sum(draw(name, 0) <= bound for name in names(200)) == 10
