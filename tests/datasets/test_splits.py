"""Splits: stable, by group, in the shares asked for."""

from hypothesis import given
from hypothesis import strategies as st

from audiorestorer.datasets.splits import SPLITS, joined, split_of

SHARES = (0.8, 0.1, 0.1)


@given(st.text(min_size=1), st.integers(0, 5))
def test_a_group_has_one_split_whatever_else_there_is(group: str, seed: int) -> None:
    assert split_of(group, SHARES, seed) == split_of(group, SHARES, seed) in SPLITS


def test_shares_are_kept_and_seeds_differ() -> None:
    found = [split_of(f"track{k}", SHARES) for k in range(4000)]
    assert abs(found.count("train") / 4000 - 0.8) < 0.02 and abs(found.count("test") / 4000 - 0.1) < 0.015
    other = [split_of(f"track{k}", SHARES, 1) for k in range(4000)]
    assert sum(a != b for a, b in zip(found, other, strict=True)) > 800


def test_a_share_of_zero_gets_nothing() -> None:
    assert {split_of(str(k), (0.5, 0.5, 0.0)) for k in range(500)} == {"train", "valid"}


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), max_size=12), st.randoms())
def test_joined_groups_do_not_depend_on_order(links: list[list[int]], random) -> None:  # type: ignore[no-untyped-def]
    first = joined(links)
    shuffled = links[:]
    random.shuffle(shuffled)
    assert first == joined(shuffled)
    for members in links:
        assert len({first[member] for member in members}) == 1


def test_unlinked_groups_stay_apart() -> None:
    assert len(set(joined([("a", "b"), ("c",), ("d", "e")]).values())) == 3
