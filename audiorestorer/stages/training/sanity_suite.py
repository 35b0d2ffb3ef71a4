"""The sanity suite as a command: eight lights on a manifest, or on audio that it generates, as text, JSON and HTML."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from audiorestorer.datasets.generated import training_set
from audiorestorer.files import write_json, write_text_atomic
from audiorestorer.report.sections import page, section
from audiorestorer.training.sanity import Subject, as_json, run_checks

INTRO = (
    "Eight checks of the training half. Each has a figure and the threshold it is held against;"
    " docs/sanity_check_playbook.md says what a red light means and what to do."
)


def run(
    manifest: Path | None,
    *,
    noise: Path | None = None,
    sample_rate: int = 22050,
    mono: bool = False,
    out_json: Path | None = None,
    out_html: Path | None = None,
    threads: int = 1,
    long: bool = False,
) -> bool:
    """Run the checks; True when all are green.

    Args:
        manifest: training manifest; None: generated audio.
        noise: noise manifest.
        sample_rate: that the recordings must have, Hz.
        mono: that they must be mono.
        out_json, out_html: where the results go.
        threads: of the long form. The short form's network is so small that more than one thread costs time.
        long: the long form: a larger network and five times the steps.

    Raises:
        AudioRestorerError: nothing (a check that cannot run is red).
    """
    threads = threads if long else 1
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="sanity_") as folder:
        if manifest is None:
            manifest, noise = training_set(Path(folder) / "generated", sample_rate=sample_rate)
            print("no manifest given: the checks run on generated audio")
        work = Path(folder) / "work"
        work.mkdir()
        checks = run_checks(Subject(Path(manifest), noise, sample_rate, mono, work, long, threads))
    result = as_json(checks)
    if out_json:
        out_json.parent.mkdir(parents=True, exist_ok=True)
        write_json(out_json, result)
    if out_html:
        rows = [
            {
                "check": check.name,
                "figure": "-" if check.figure is None else f"{check.figure:.4g}",
                "threshold": f"{check.threshold:g}",
                "unit": check.unit,
                "light": "green" if check.ok else "RED",
                "detail": check.detail,
            }
            for check in checks
        ]
        out_html.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(out_html, page("Sanity checks", INTRO, [section("Checks", (), rows)]))
    green = sum(check.ok for check in checks)
    print(f"{green} of {len(checks)} green")
    return bool(result["ok"])
