"""Splits: stable, by group, in the shares asked for."""

from hypothesis import given
from hypothesis import strategies as st

from audiorestorer.datasets.splits import SPLITS, joined, split_of

SHARES = (0.8, 0.1, 0.1)
PINNED = ["valid", "train", "train", "test", "test", "valid", "train", "valid"]  # of track0 to track7, shares alike


@given(st.text(min_size=1), st.integers(0, 5), st.tuples(*[st.floats(0, 1)] * 3).filter(lambda s: sum(s) > 1e-6))
def test_any_name_gets_a_split_that_has_a_share(group: str, seed: int, shares: tuple[float, float, float]) -> None:
    assert shares[SPLITS.index(split_of(group, shares, seed))] > 0


def test_the_splits_of_published_manifests_do_not_move() -> None:
    assert [split_of(f"track{k}", (1, 1, 1)) for k in range(8)] == PINNED


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
