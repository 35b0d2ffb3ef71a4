"""The fault campaign (tests/faults): kill, fill, lock, damage at random moments; then the same command must end with the same bytes.

    python -m scripts.bench.fault_campaign                         200 faults; killed, the same command goes on
    python -m scripts.bench.fault_campaign --faults 60 --seed 3 --only kill,full_disk

Writes artifacts/eval/faults.json, and with --docs the section "Faults" of docs/lab/reliability.md. Ends with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from audiorestorer.files import write_text_atomic
from scripts.sections import ROOT, write_section

MEMORY_DISK = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200, help="number of faults")
    parser.add_argument("--seed", type=int, default=1, help="seed of everything that is drawn")
    parser.add_argument("--only", help="kinds of faults, separated by commas")
    parser.add_argument("--short", action="store_true", help="run the short form of the tests")
    parser.add_argument("--json", type=Path, default=ROOT / "artifacts/eval/faults.json", help="file for the results")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/lab/reliability.md")
    parser.add_argument(
        "--folder", type=Path, help="working folder; default: a folder in memory, else the temporary folder"
    )
    parser.add_argument("--parts", type=Path, nargs="+", help="run nothing: join the results of several runs")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from tests.faults import fault_campaign

    if options.parts:
        result = fault_campaign.together([json.loads(path.read_text()) for path in options.parts])
        write_text_atomic(options.json, json.dumps(result, indent=1) + "\n")
        return finished(result, options)
    counts = fault_campaign.SHORT if options.short else fault_campaign.plan(options.faults)
    if options.only:
        counts = {kind: count for kind, count in counts.items() if kind in options.only.split(",")}
    home = options.folder or (MEMORY_DISK if os.access(MEMORY_DISK, os.W_OK) else None)
    folder = Path(tempfile.mkdtemp(prefix=fault_campaign.FOLDER, dir=home))
    result = fault_campaign.campaign(folder, counts, options.seed, record=options.json)
    return finished(result, options)


def finished(result: dict[str, Any], options: argparse.Namespace) -> int:
    """Show a result, and write it into the page."""
    from tests.faults import fault_campaign

    print(fault_campaign.table(result))
    print(f"{result['seconds']:.0f} s; {options.json}")
    if options.docs:
        write_section(ROOT / "docs/lab/reliability.md", "faults", section(result))
    return int(bool(result["lost"]))


def section(result: dict[str, Any]) -> str:
    from tests.faults import fault_campaign

    tried = sum(row["tried"] for row in result["kinds"])
    kept = [re.search(r"(\d+) of (\d+) items kept", trial["detail"]) for trial in result["trials"]]
    late = [found[1] == found[2] for found in kept if found]
    parts = f" Put together from {result['parts']} runs (`--parts`)." if "parts" in result else ""
    return (
        "## Faults\n\n"
        f"`python -m scripts.bench.fault_campaign` wrote this ({tried} faults, seed {result['seed']}): a real run on tiny models\n"
        "meets one fault at a random moment; then the same command is given again. It must end with the bytes of a run that nothing\n"
        "disturbed, or first say in one message which file is meant and what to do, and end so once that is done. After each fault,\n"
        "before anything is mended, every file under a final name is read: none may be half-written. No item that was finished may\n"
        f"be computed again. Rights were taken away with `{result['rights']}`.\n\n"
        + fault_campaign.table(result)
        + f"\n\nOf the {len(late)} kills of the chain, {sum(late)} came after the last item was finished."
        + f" It took {result['seconds'] / 60:.0f} minutes.{parts}"
    )


if __name__ == "__main__":
    sys.exit(main())
