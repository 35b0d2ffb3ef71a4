"""A result depends on the recording alone: not on its level, neighbours, shard, threads or blocks; and silence stays silence."""

from __future__ import annotations

import pytest

from tests.faults.numerics import CHAINS, LIMITS_DB, figures


@pytest.fixture(
    scope="module",
    params=["mask networks", *(pytest.param(chain, marks=pytest.mark.slow) for chain in ("HTDemucs", "pilot models"))],
)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    return figures(CHAINS[request.param], tmp_path_factory.mktemp("numerics"))


@pytest.mark.parametrize("what", LIMITS_DB)
def test_within_its_tolerance(found: dict[str, dict[str, float]], what: str) -> None:
    assert {stage: value for stage, value in found[what].items() if value > LIMITS_DB[what]} == {}
