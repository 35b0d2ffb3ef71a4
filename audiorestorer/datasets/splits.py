"""Stable splits: the split of a group of recordings follows from its name and a seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence

SPLITS = ("train", "valid", "test")


def split_of(group: str, shares: Sequence[float], seed: int = 0) -> str:
    """The split of a group: a hash of seed and name, so that adding others moves nothing.

    Args:
        shares: shares of train, valid and test; they need not sum to one.
    """
    digest = hashlib.sha256(f"{seed}\n{group}".encode("utf-8", "surrogateescape")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares)
    for split, share in zip(SPLITS, shares, strict=True):
        place -= share
        if place < 0 and share > 0:
            return split
    return next(split for split, share in reversed(list(zip(SPLITS, shares, strict=True))) if share > 0)


def joined(links: Iterable[Sequence[Hashable]]) -> dict[Hashable, Hashable]:
    """Groups that share a member become one (union-find): member -> the group's smallest member, compared as text."""
    parent: dict[Hashable, Hashable] = {}

    def root(member: Hashable) -> Hashable:
        parent.setdefault(member, member)
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for members in links:
        for member in members:
            low, high = sorted((root(members[0]), root(member)), key=str)
            parent[high] = low
    return {member: root(member) for member in parent}
