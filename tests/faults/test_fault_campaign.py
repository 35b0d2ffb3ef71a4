"""The short form of the fault campaign; the long one: `python scripts/fault_campaign.py`, or `pytest -m slow tests/faults`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.faults import fault_campaign


def run(counts: dict[str, int], seed: int) -> dict:
    home = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return fault_campaign.campaign(Path(tempfile.mkdtemp(prefix="faults-", dir=home)), counts, seed, show=False)


def test_nothing_is_lost_by_the_short_campaign() -> None:
    result = run(fault_campaign.SHORT, 7)
    assert not result["lost"], result["lost"]
    assert sum(row["tried"] + row["not_here"] for row in result["kinds"]) == sum(fault_campaign.SHORT.values())


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nothing_is_lost_by_the_long_campaign() -> None:
    result = run(fault_campaign.plan(200), 1)
    assert not result["lost"], result["lost"]
    assert sum(row["tried"] + row["not_here"] for row in result["kinds"]) >= 200
