"""loudness: bring each file to the target loudness below the true-peak ceiling, in the input's rate, channels and sample format."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiorestorer import audio
from audiorestorer.config import LoudnessSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp import loudness as meter
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.shard import Made, RejectItem, Stage, run_shard
from audiorestorer.store import Entry

log = logging.getLogger("audiorestorer")

TOLERANCE_LU = 0.05
REPORTED_LU = 0.1  # what is further from the target gets a note
LEAST_SLOPE = 0.2
ATTEMPTS = 4


@dataclass
class Plan:
    """What is tried next: the gain in dB, the limiter's ceiling (None: no limiter), and the gain and loudness of the try before."""

    gain_db: float
    ceiling_dbtp: float | None
    before: tuple[float, float] | None = None


def first_plan(level: meter.Level, settings: LoudnessSettings) -> Plan:
    """The gain to the target, and a limiter where the true peak would then be above the ceiling. No loudness: 0 dB."""
    gain = 0.0 if level.lufs is None else min(settings.target_lufs - level.lufs, settings.max_gain_db)
    peak = -math.inf if level.true_peak_dbtp is None else level.true_peak_dbtp + gain
    return Plan(gain, settings.true_peak_dbtp if peak > settings.true_peak_dbtp - meter.MARGIN_DB else None)


def next_plan(plan: Plan, level: meter.Level, settings: LoudnessSettings) -> Plan | None:
    """What to try after `plan` gave `level`; None where nothing is left to mend. The gain goes by the secant of the last two tries."""
    over = -math.inf if level.true_peak_dbtp is None else level.true_peak_dbtp - settings.true_peak_dbtp
    short = 0.0 if level.lufs is None else settings.target_lufs - level.lufs
    slope = 1.0
    if plan.before is not None and level.lufs is not None and plan.gain_db != plan.before[0]:
        slope = min(1.0, max(LEAST_SLOPE, (level.lufs - plan.before[1]) / (plan.gain_db - plan.before[0])))
    step = short / slope if abs(short) > TOLERANCE_LU else 0.0
    gain = min(plan.gain_db + step, settings.max_gain_db)
    if over <= 0 and abs(gain - plan.gain_db) < TOLERANCE_LU / 10:
        return None
    held = settings.true_peak_dbtp if plan.ceiling_dbtp is None else plan.ceiling_dbtp
    limiter = plan.ceiling_dbtp is not None or over > 0 or (level.true_peak_dbtp or 0) + step > settings.true_peak_dbtp
    before = None if level.lufs is None else (plan.gain_db, level.lufs)
    return Plan(gain, held - max(0.0, over) if limiter else None, before)


def note(plan: Plan, level: meter.Level, settings: LoudnessSettings) -> str | None:
    """Why the target was not reached, or None."""
    if level.lufs is None:
        return "silent, or shorter than 400 ms: BS.1770 gives no loudness; the gain is 0 dB"
    short = settings.target_lufs - level.lufs
    if abs(short) <= REPORTED_LU:
        return None
    if plan.gain_db >= settings.max_gain_db:
        return f"{short:+.2f} LU short of the target: the gain is held at max_gain_db ({settings.max_gain_db:g} dB)"
    return f"the true-peak ceiling leaves the loudness {short:+.2f} LU short of the target"


def render(path: str, info: audio.AudioInfo, gain_db: float, ceiling_dbtp: float | None) -> Iterator[audio.Audio]:
    """The stream with its gain, limited where a ceiling is given."""
    stream = meter.scaled(audio.blocks(path), gain_db)
    return stream if ceiling_dbtp is None else meter.limited(stream, info.sample_rate, ceiling_dbtp)


def loudness_item(item: Item, settings: LoudnessSettings, folder: Path) -> Made:
    """Write `output.wav` or `output.flac`, measure it as it stands on disk, and correct gain and ceiling until both fit.

    Raises:
        RejectItem: the speech holds NaN or infinity.
    """
    path = item.path or ""
    info = audio.probe(path)
    suffix = Path(item.output or "x.wav").suffix.lower()
    kind, subtype = audio.output_format(audio.probe(item.noisy), suffix, settings.subtype)
    target = folder / f"output{suffix}"
    try:
        before = meter.measure(audio.blocks(path), info.sample_rate, info.channels)
    except ValueError as error:
        raise RejectItem(str(error)) from error
    plan = first_plan(before, settings)
    for attempt in range(1, ATTEMPTS + 1):
        audio.write_blocks(
            target, render(path, info, plan.gain_db, plan.ceiling_dbtp), info.sample_rate, info.channels,
            format=kind, subtype=subtype, expected_frames=info.frames,
        )  # fmt: skip
        level = meter.measure(audio.blocks(target), info.sample_rate, info.channels)
        following = next_plan(plan, level, settings)
        if following is None or attempt == ATTEMPTS:
            break
        plan = following
    row: dict[str, Any] = {
        "gain_db": round(plan.gain_db, 4), "limited": plan.ceiling_dbtp is not None, "input_lufs": before.lufs,
        "output_lufs": level.lufs, "true_peak_dbtp": level.true_peak_dbtp,
    }  # fmt: skip
    if (reason := note(plan, level, settings)) is not None:
        row["loudness_note"] = reason
    log.info("loudness: %s: gain %+.2f dB%s", item.id, plan.gain_db, ", limited" if row["limited"] else "")
    return Made({target.name: target}, row)


def _describe(entry: Entry, item: Item) -> Item:
    name = next(iter(entry.files))
    return item.updated(**entry.row, path=str(entry.files[name]), sha256=entry.sha256[name])


def run(in_manifest: Path, out_manifest: Path, config: LoudnessSettings, store: Path) -> None:
    """Bring a shard to its loudness."""
    stage: Stage[None] = Stage(
        name="loudness",
        settings=config.model_dump(exclude={"format"}),
        code=code_digest("stages.loudness"),
        load=lambda: None,
        process=lambda _, item, folder: loudness_item(item, config, folder),
        describe=_describe,
        # the container follows the output's suffix, the sample format the input's
        inputs=lambda item: [item.sha256, item.noisy_sha256, Path(item.output or "x.wav").suffix.lower()],
    )
    run_shard(stage, read_manifest(in_manifest), out_manifest, store, [in_manifest])
