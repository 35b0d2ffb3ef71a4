"""loudness: bring each file to the target loudness below the true-peak ceiling, in the input's rate, channels and sample format."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiorestorer import audio
from audiorestorer.config import LoudnessSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp import loudness as meter
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.shard import Made, Stage, run_shard
from audiorestorer.store import Entry

log = logging.getLogger("audiorestorer")

TOLERANCE_LU = 0.05
ATTEMPTS = 4
LINEAR = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
FLAC_SUBTYPES = ("PCM_16", "PCM_24")


def output_format(source: audio.AudioInfo, suffix: str, subtype: str) -> tuple[str, str]:
    """libsndfile's format and subtype of the output. Compressed and 8-bit inputs become 16 bit."""
    if subtype == "keep":
        subtype = source.subtype if source.subtype in LINEAR else "PCM_16"
    if suffix == ".flac":
        return "FLAC", subtype if subtype in FLAC_SUBTYPES else "PCM_24"
    return "WAV", subtype


def plan(item: Item, info: audio.AudioInfo, settings: LoudnessSettings) -> tuple[float, float | None, dict[str, Any]]:
    """Measure the input, choose a gain and, where the ceiling needs it, a limiter; correct both until the result fits.

    Returns:
        (gain in dB, ceiling of the limiter or None, row fields).
    """
    path = item.path or ""
    level = meter.measure(audio.blocks(path), info.sample_rate, info.channels)
    row: dict[str, Any] = {"input_lufs": level.lufs, "limited": False}
    ceiling = settings.true_peak_dbtp
    gain = 0.0
    if level.lufs is None:
        row["loudness_note"] = "silent, or shorter than 400 ms: BS.1770 gives no loudness; the gain is 0 dB"
    else:
        gain = min(settings.target_lufs - level.lufs, settings.max_gain_db)
        if gain < settings.target_lufs - level.lufs:
            row["loudness_note"] = f"the gain is held at max_gain_db ({settings.max_gain_db:g} dB)"
    if level.true_peak_dbtp is None or level.true_peak_dbtp + gain <= ceiling - meter.MARGIN_DB:
        return gain, None, row
    row["limited"] = True
    held = ceiling
    for _ in range(ATTEMPTS):
        reached = meter.measure(render(path, info, gain, held), info.sample_rate, info.channels)
        over = (reached.true_peak_dbtp or -200.0) - ceiling
        short = settings.target_lufs - reached.lufs if reached.lufs is not None and "loudness_note" not in row else 0.0
        if over <= 0 and abs(short) <= TOLERANCE_LU:
            return gain, held, row
        held -= max(0.0, over)
        gain += short
    row["loudness_note"] = f"the true-peak ceiling leaves the loudness {short:+.2f} LU short of the target"
    return gain, held, row


def render(path: str, info: audio.AudioInfo, gain_db: float, ceiling_dbtp: float | None) -> Iterator[audio.Audio]:
    """The stream with its gain, limited where a ceiling is given."""
    stream = meter.scaled(audio.blocks(path), gain_db)
    return stream if ceiling_dbtp is None else meter.limited(stream, info.sample_rate, ceiling_dbtp)


def loudness_item(item: Item, settings: LoudnessSettings, folder: Path) -> Made:
    """Write `output.wav` or `output.flac` and measure it as it stands on disk."""
    info = audio.probe(item.path or "")
    source = audio.probe(item.noisy)
    suffix = Path(item.output or "x.wav").suffix.lower()
    kind, subtype = output_format(source, suffix, settings.subtype)
    gain, ceiling, row = plan(item, info, settings)
    target = folder / f"output{suffix}"
    audio.write_blocks(
        target, render(item.path or "", info, gain, ceiling), info.sample_rate, info.channels,
        format=kind, subtype=subtype, expected_frames=info.frames,
    )  # fmt: skip
    level = meter.measure(audio.blocks(target), info.sample_rate, info.channels)
    row |= {"gain_db": round(gain, 4), "output_lufs": level.lufs, "true_peak_dbtp": level.true_peak_dbtp}
    log.info("loudness: %s: gain %+.2f dB%s", item.id, gain, ", limited" if row["limited"] else "")
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
    run_shard(stage, read_manifest(in_manifest), out_manifest, store)
