"""Write the figures of docs/lab/reliability.md from the results of the programs that made them.

    python -m tests.faults.campaign /tmp/campaign --json campaign.json
    python -m tests.faults.numerics /tmp/numerics --json numerics.json
    python -m scripts.release.write_reliability --campaign campaign.json --numerics numerics.json --names

Each part replaces what stands between its two marks; the text around them is written by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.sections import ROOT, write_section

PAGE = ROOT / "docs" / "lab" / "reliability.md"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(value) for value in line) + " |" for line in lines)


def campaign_part(rows: Sequence[dict[str, Any]]) -> str:
    """Counts by group and outcome, and the most that a file took."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    body = [_counts(name, group) for name, group in groups.items()]
    return table(
        ("group", "files", "restored", "rejected with a reason", "broken", "most processor time, s", "most memory, MB"),
        [*body, _counts("**all**", rows)],
    )


def _counts(name: str, rows: Sequence[dict[str, Any]]) -> list[Any]:
    outcomes = [sum(row["outcome"] == outcome for row in rows) for outcome in ("restored", "rejected", "broken")]
    return [
        name,
        len(rows),
        *outcomes,
        f"{max(row['cpu_sec'] for row in rows):.2f}",
        f"{max(row['mb'] for row in rows):.0f}",
    ]


def numerics_part(chains: dict[str, dict[str, dict[str, float | None]]]) -> str:
    """For each comparison the worst figure of each chain, with its stage, and the tolerance that the test holds."""
    from tests.faults.numerics import EXACT, LIMITS_DB

    rows = []
    for what, limit in LIMITS_DB.items():
        worst = [_worst(chain[what]) for chain in chains.values()]
        rows.append([what, *worst, "exact" if limit == EXACT else f"{limit:g} dB"])
    return table(("compared", *chains, "tolerance"), rows)


def _worst(stages: dict[str, float | None]) -> str:
    value, stage = max((-1e9 if value is None else value, stage) for stage, value in stages.items())
    return "exact" if value == -1e9 else f"{value:.1f} dB ({stage})"


def names_part() -> str:
    from tests.faults.names import HOSTILE_FILES, HOSTILE_FOLDERS, NOT_TEXT, OTHER_FORMATS

    rows = [
        ("file names that must come through whole", len(HOSTILE_FILES) + len(OTHER_FORMATS)),
        ("names that are no UTF-8, each a rejected row", len(NOT_TEXT)),
        ("folder names for input and output in a real run", len(HOSTILE_FOLDERS)),
    ]
    return table(("names", "tried"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaign", type=Path, help="results of the campaign of hostile files")
    parser.add_argument("--numerics", type=Path, help="results of the numerical comparison")
    parser.add_argument("--names", action="store_true", help="write the section on file names")
    options = parser.parse_args()
    if options.campaign:
        write_section(PAGE, "hostile audio", campaign_part(json.loads(options.campaign.read_text())))
    if options.numerics:
        write_section(PAGE, "numerics", numerics_part(json.loads(options.numerics.read_text())))
    if options.names:
        write_section(PAGE, "hostile names", names_part())


if __name__ == "__main__":
    main()
