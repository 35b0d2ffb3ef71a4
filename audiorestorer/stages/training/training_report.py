"""The training half's page in the report: the results of each step, from the files that the steps wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiorestorer.files import read_csv, read_json, write_text_atomic
from audiorestorer.report.sections import Section, curve, page, section

INTRO = (
    "From stems and noise to a model: the data's audit, the noises that were kept, the splits, the training's losses, what held-out"
    " items say, and what was exported. Δ is against the noisy input; positive is better, but for the residual."
)
SMOOTH_STEPS = 25
AUDIT_SHOWN = ("track", "subset", "residual_db", "duration_sec", "clipped_share", "status", "reasons")
INFER_SHOWN = (
    "id",
    "seconds",
    "si_noisy_db",
    "delta_si_db",
    "delta_lsd_db",
    "residual_percent",
    "composite",
    "status",
    "reason",
)
NOISE_SHOWN = ("path", "class", "kept", "reason", "level_dbfs", "duration_sec")


def run(folder: Path, out_html: Path, model_json: Path, figures: dict[str, Path]) -> None:
    """Write the page.

    Args:
        folder: with audit.csv, noise.csv, train.json, triad_summary.csv, learning_summary.csv, infer.csv, onnx.json, profile.json.
        model_json: the record that `train` wrote; its run folder has the losses.
        figures: PNG files by section: audit, noise, triads, profile.

    Raises:
        AudioRestorerError: a file is missing or cannot be read.
    """
    record = read_json(model_json)
    losses = read_csv(Path(str(record["run"])) / "logs" / "loss.csv")
    sections = [
        _table("Stem audit", read_csv(folder / "audit.csv"), AUDIT_SHOWN, figures["audit"]),
        _table("Noise filter", read_csv(folder / "noise.csv"), NOISE_SHOWN, figures["noise"]),
        _splits(read_json(folder / "train.json")),
        _losses(record, losses),
        _table(
            "Held-out triads, medians an epoch", _short(read_csv(folder / "triad_summary.csv")), None, figures["triads"]
        ),
        _table("Learning", _short(read_csv(folder / "learning_summary.csv")), None, None),
        _table("Held-out recordings", read_csv(folder / "infer.csv"), INFER_SHOWN, None),
        _profile(read_json(folder / "profile.json"), read_json(folder / "onnx.json"), figures["profile"]),
    ]
    write_text_atomic(out_html, page(f"Training: {record['name']}", INTRO, sections))


def _table(title: str, rows: list[dict[str, str]], shown: tuple[str, ...] | None, picture: Path | None) -> Section:
    table = [{name: row.get(name, "") for name in shown or row} for row in rows]
    return section(title, (), table, picture.read_bytes() if picture else b"")


def _short(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Without the quartiles and the columns that no row fills."""
    names = [
        name for name in (rows[0] if rows else ()) if not name.endswith(("_q25", "_q75")) and any(r[name] for r in rows)
    ]
    return [{name: row[name] for name in names} for row in rows]


def _splits(summary: dict[str, Any]) -> Section:
    rows = [{"split": s, "recordings": n, "minutes": summary["minutes"][s]} for s, n in summary["splits"].items()]
    return section("Training manifest", [f"{summary['left_out']} tracks that failed the audit were left out."], rows)


def _losses(record: dict[str, Any], rows: list[dict[str, str]]) -> Section:
    steps = [float(row["step"]) for row in rows]
    names = [name for name in (rows[0] if rows else ()) if name != "step"]
    last = ", ".join(f"{name} {float(rows[-1][name]):.3f}" for name in names) if rows else ""
    first = {name: float(rows[0][name]) or 1.0 for name in names} if rows else {}
    lines = {name: [float(row[name]) / first[name] for row in rows] for name in names}
    png = curve(steps, lines, across="step", up="share of its first value", smooth=SMOOTH_STEPS) if rows else b""
    return section(
        "Training", [f"{record['steps']} steps; the last: {last}. Lines are means of {SMOOTH_STEPS} steps."], (), png
    )


def _profile(profile: dict[str, Any], onnx: dict[str, Any], picture: Path) -> Section:
    lines = [
        f"ONNX: {onnx['size_mb']} MB, opset {onnx['opset']}, largest difference from PyTorch {onnx['max_difference']:.1e}.",
        f"{profile['parameters']} parameters, {profile['gflop_per_second_of_audio']} GFLOP a second of audio.",
    ]
    rows = [{"run time": name, **figures} for name, figures in profile["backends"].items()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return section(
        "Export and profile", lines, [{n: row.get(n, "") for n in names} for row in rows], picture.read_bytes()
    )
