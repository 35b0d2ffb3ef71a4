"""Audit a stem data set: is each mixture the sum of its stems, and do the files fit together?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from audiorestorer.datasets.stems import Finding, audit, find_tracks
from audiorestorer.files import write_bytes_atomic, write_csv, write_json
from audiorestorer.report.figures import AFTER, BEFORE, png_bytes

FIELDS = (
    "track", "subset", "layout", "residual_db", "stems", "sample_rate", "channels", "duration_sec", "clipped_share",
    "silent_files", "status", "reasons", "residual_channel", "notes",
)  # fmt: skip
PROGRESS_EVERY = 10


def run(root: Path, out_csv: Path, *, tol_db: float = -40.0, figure: Path | None = None) -> dict[str, Any]:
    """Audit every track and write the CSV, and beside it the totals (`.json`).

    Returns:
        Totals: tracks, failed, tol_db, worst_residual_db.

    Raises:
        AudioRestorerError: no tracks.
    """
    tracks = find_tracks(Path(root))
    findings = []
    for number, track in enumerate(tracks, 1):
        findings.append(audit(track, tol_db))
        if not findings[-1].ok:
            print(f"failed: {track.subset or '.'}/{track.name}: {'; '.join(findings[-1].reasons)}", flush=True)
        if number % PROGRESS_EVERY == 0:
            print(f"audited {number}/{len(tracks)}", flush=True)
    write_csv(out_csv, FIELDS, [_row(finding) for finding in findings])
    measured = [finding.residual_db for finding in findings if finding.residual_db is not None]
    failed = sum(not finding.ok for finding in findings)
    totals = {
        "tracks": len(findings), "failed": failed, "tol_db": tol_db, "worst_residual_db": max(measured, default=None),
        "without_residual": len(findings) - len(measured),
    }  # fmt: skip
    write_json(out_csv.with_suffix(".json"), totals)
    if figure:
        write_bytes_atomic(figure, _figure(findings, tol_db))
    print(f"{len(findings)} tracks, {failed} failed (tolerance {tol_db:g} dB)")
    return totals


def _row(finding: Finding) -> dict[str, Any]:
    track = finding.track
    return {
        "track": track.name,
        "subset": track.subset,
        "layout": track.layout,
        "residual_db": "" if finding.residual_db is None else finding.residual_db,
        "stems": " ".join(track.stems),
        "sample_rate": finding.sample_rate,
        "channels": finding.channels,
        "duration_sec": finding.duration_sec,
        "clipped_share": f"{finding.clipped_share:.6f}",
        "silent_files": " ".join(finding.silent_files),
        "status": "ok" if finding.ok else "failed",
        "reasons": "; ".join(
            [*finding.reasons, *([f"residual: {finding.residual_missing}"] if finding.residual_missing else [])]
        ),
        "residual_channel": finding.residual_channel,
        "notes": "; ".join(finding.notes),
    }


def _figure(findings: list[Finding], tol_db: float) -> bytes:
    """Residuals sorted, the tolerance as a line."""
    measured = sorted((f.residual_db, f.ok) for f in findings if f.residual_db is not None)
    figure = Figure(figsize=(8, 3), layout="constrained")
    axis = figure.add_subplot()
    for ok, colour, label in ((True, AFTER, "ok"), (False, BEFORE, "failed")):
        points = [(place, value) for place, (value, good) in enumerate(measured, 1) if good == ok]
        axis.plot([p for p, _ in points], [v for _, v in points], "o", color=colour, label=f"{label} ({len(points)})")
    axis.axhline(tol_db, color="#222222", linestyle="--", linewidth=1, label=f"tolerance {tol_db:g} dB")
    axis.set_xlabel("tracks, by residual")
    axis.set_ylabel("residual, dB")
    axis.legend(frameon=False)
    return png_bytes(figure)
