"""The fault campaign: in its short form with `make test`, some more faults with the slow tests, all of them with `make test-all`.

The long form is also a program: `python -m scripts.bench.fault_campaign`.
"""

from __future__ import annotations

import json
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


def test_a_killed_campaign_goes_on_and_another_one_does_not(tmp_path: Path) -> None:
    """Two faults; the record is put back to where it was after the first, as by a kill."""
    record, counts = tmp_path / "faults.json", {"bit_rot": 2}
    whole = fault_campaign.campaign(tmp_path / "faults-a", counts, 7, show=False, record=record)
    assert [trial["seed"] for trial in whole["trials"]] == [7000, 7001] and json.loads(record.read_text())[
        "trials"
    ] == whole["trials"]
    before = {
        **whole,
        "trials": [{**whole["trials"][0], "detail": "played before"}],
        "folder": str(tmp_path / "faults-dead"),
    }
    (tmp_path / "faults-dead/trial").mkdir(parents=True)
    record.write_text(json.dumps(before))
    again = fault_campaign.campaign(tmp_path / "faults-b", counts, 7, show=False, record=record)
    assert [trial["detail"] for trial in again["trials"]] == ["played before", whole["trials"][1]["detail"]]
    assert (
        again["kinds"] == whole["kinds"]
        and not (tmp_path / "faults-dead").exists()
        and again["seconds"] > before["seconds"]
    )
    assert fault_campaign._played(record, {**again, "seed": 8}) == ([], 0.0)
    assert fault_campaign._played(record, {**again, "code": "other"}) == ([], 0.0)
    assert len(fault_campaign._played(record, again)[0]) == 2


FAULTS = int(os.environ.get("AUDIORESTORER_FAULTS", "54"))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("faults", [FAULTS])
def test_nothing_is_lost_by_the_long_campaign(faults: int) -> None:
    """54 have each kind; `AUDIORESTORER_FAULTS` says another number: 200 are the whole campaign."""
    result = run(fault_campaign.plan(faults), 1)
    assert not result["lost"], result["lost"]
    assert sum(row["tried"] + row["not_here"] for row in result["kinds"]) >= faults
