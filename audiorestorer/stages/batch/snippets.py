"""snippets: for a few files of the batch, the same seconds before, after and clean, at the same loudness, and their spectrograms.

The files are MP3: all browsers play it, and libsndfile writes equal bytes for equal audio (its OGG writer does not: random serial
numbers). They are for the report's listening page only; what is delivered is the finished file itself.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import SnippetSettings
from audiorestorer.dsp.reading import reading
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json, replacing, write_bytes_atomic, write_text_atomic
from audiorestorer.forked import unordered
from audiorestorer.manifest import Item, read_manifests
from audiorestorer.report.figures import spectrograms
from audiorestorer.report.item_figures import details
from audiorestorer.report.metricinfo import items_ok
from audiorestorer.report.outcome import ranked

log = logging.getLogger("audiorestorer")

HOP_SEC = 0.25  # step of the search for the window
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_COMPRESSION = 0.2  # about 90 kbit/s per channel: transparent for speech
TARGET_LUFS = -23.0
PEAK_CEILING = 10 ** (-1.5 / 20)  # the coder overshoots by a little
FADE_SEC = 0.01
MAX_CHANNELS = 2
# the files of an item
FILES = ("before.mp3", "unenhanced.mp3", "after.mp3", "clean.mp3", "spectrogram.png", "detail.png")
REACHED_LU = 0.1  # an output this near to the target is at it
RESIDUE_DB = 30.0  # an output this far below the input holds nothing of it: it is played as quiet as it is


def run(
    metrics_json: Path,
    manifests: list[Path],
    out_json: Path,
    folder: Path,
    config: SnippetSettings,
    *,
    threads: int = 1,
) -> None:
    """Choose items, write `folder/<id>/{before,unenhanced,after,clean}.mp3`, `spectrogram.png`, `detail.png`; list them in `out_json`.

    Args:
        metrics_json: figures of all items (`collect`); decides which are worst and best.
        manifests: the finished items' rows (stage `loudness`).
        threads: recordings in work at a time.

    Raises:
        AudioRestorerError: an input cannot be read, or an item of the metrics is in no manifest.
    """
    metrics = read_json(metrics_json)
    rows = {item.id: item for item in read_manifests(manifests)}
    wanted: list[tuple[str, Item]] = []
    for item_metrics, chosen in choose(metrics, config):
        name = str(item_metrics["id"])
        if name not in rows:
            raise AudioRestorerError(f"{metrics_json}: {name!r} is in none of the manifests given")
        if rows[name].ok and rows[name].path:
            wanted.append((chosen, rows[name]))
    made = dict(unordered(lambda number: make(wanted[number][1], folder, config.seconds), len(wanted), threads))
    entries = [{"chosen": chosen, **made[number]} for number, (chosen, _) in enumerate(wanted)]
    text = json.dumps({"seconds": config.seconds, "items": entries}, indent=1, sort_keys=True, allow_nan=False)
    write_text_atomic(out_json, text + "\n")
    clear(folder, {Path(name) for entry in entries for name in files_of(entry)})
    log.info("snippets: %d files: %s", len(entries), out_json)


def files_of(entry: Mapping[str, Any]) -> list[str]:
    """All files that belong to an entry of `out_json`."""
    return [*entry["files"].values(), entry["spectrogram"], entry["detail"]]


def clear(folder: Path, keep: set[Path]) -> None:
    """Delete the snippets of an earlier choice: a recording that left the input is not to be heard here either."""
    for path in sorted(folder.glob("*/*")):
        if path.name in FILES and path not in keep:
            path.unlink(missing_ok=True)
    for place in sorted(folder.glob("*/")):
        with suppress(OSError):  # somebody's files are in it
            place.rmdir()


def choose(metrics: Mapping[str, Any], config: SnippetSettings) -> list[tuple[Mapping[str, Any], str]]:
    """At most `config.count` items with why they were chosen: a third worst, a third best, the rest a seeded sample.

    The order is by SI-SDR improvement; by the fall of the music-to-speech ratio where no item has a reference. Items without
    that figure can only come by the sample.
    """
    items = items_ok(metrics)
    _, by_gain = ranked(items)
    count = min(config.count, len(items))
    best = min(count // 3, len(by_gain) // 2)
    worst = min(-(-count // 3), len(by_gain) - best)
    extremes = [(item, "worst") for item in by_gain[:worst]]
    extremes += [(item, "best") for item in reversed(by_gain[len(by_gain) - best :])]
    taken = {str(item["id"]) for item, _ in extremes}
    rest = [item for item in items if str(item["id"]) not in taken]
    sample = random.Random(config.seed).sample(rest, count - len(extremes))
    return extremes + [(item, "sample") for item in sorted(sample, key=lambda item: str(item["id"]))]


def make(row: Item, folder: Path, seconds: float) -> dict[str, Any]:
    """One item's snippets and picture; returns its entry in `out_json`."""
    made = row.measured or row.path
    assert made
    sources = {"before": row.noisy}
    if row.enhanced and row.unenhanced and Path(row.unenhanced).is_file():  # gone where intermediates are not kept
        sources["unenhanced"] = row.unenhanced
    sources |= {"after": made} | ({"clean": row.clean} if row.clean else {})
    start_sec = loudest_window(row.clean or made, seconds)
    rate = mp3_rate(audio.probe(made).sample_rate)
    cuts = {name: cut(path, start_sec, seconds, rate) for name, path in sources.items()}
    length = max(version.shape[1] for version in cuts.values())
    if length == 0:
        raise AudioRestorerError(f"{row.id}: {made}: no samples at {start_sec} s")
    cuts = {name: np.pad(version, ((0, 0), (0, length - version.shape[1]))) for name, version in cuts.items()}
    place = folder / row.id
    detail = place / "detail.png"
    # before the loudness is matched: this figure shows the levels that the files have
    write_bytes_atomic(detail, details(cuts["before"], cuts["after"], rate, reached_lufs(row)))
    matched, gains_db = match_loudness(cuts, rate)
    files = {}
    for name, version in matched.items():
        files[name] = str(place / f"{name}.mp3")
        write_mp3(place / f"{name}.mp3", version, rate)
    picture = place / "spectrogram.png"
    write_bytes_atomic(picture, spectrograms({name: (version, rate) for name, version in matched.items()}))
    return {
        "id": row.id,
        "start_sec": round(start_sec, 3),
        "seconds": round(length / rate, 3),
        "sample_rate": rate,
        "files": files,
        "gain_db": {name: round(gain, 2) for name, gain in gains_db.items()},
        "spectrogram": str(picture),
        "detail": str(detail),
    }


def reached_lufs(row: Item) -> float | None:
    """The target of the stage `loudness` where the output's loudness is at it; else None."""
    level, target = row.output_lufs, row.target_lufs
    if level is None or target is None or abs(float(level) - float(target)) > REACHED_LU:
        return None
    return round(float(target), 1)


def loudest_window(path: str | Path, seconds: float) -> float:
    """Start (seconds) of the window with the most speech in a file that holds (mostly) speech; reads it block by block.

    The measure is the sum of the RMS of 0.25 s frames, so that one burst does not outweigh seconds of talk. Earliest wins.
    """
    rate = audio.probe(path).sample_rate
    levels = np.array(list(_frame_levels(path, max(1, round(HOP_SEC * rate)))))
    frames = max(1, round(seconds / HOP_SEC))
    if len(levels) <= frames:
        return 0.0
    sums = np.cumsum(np.concatenate([[0.0], levels]))
    return int(np.argmax(np.round(sums[frames:] - sums[:-frames], 9))) * HOP_SEC


def _frame_levels(path: str | Path, hop: int) -> Iterator[float]:
    for block in audio.rechunk(audio.blocks(path), hop):
        yield float(np.sqrt(np.mean(np.square(block, dtype=np.float64)))) * block.shape[1] / hop


def mp3_rate(sample_rate: int) -> int:
    """The sample rate itself, or the highest MP3 rate below it (the lowest there is for still lower ones)."""
    return max([rate for rate in MP3_RATES if rate <= sample_rate] or MP3_RATES[:1])


def cut(path: str | Path, start_sec: float, seconds: float, rate: int) -> Audio:
    """`[C, T]` (C at most 2; more become their mean) at `rate`; shorter where the file ends. Reads only what it needs."""
    info = audio.probe(path)
    source = audio.blocks(path, start=round(start_sec * info.sample_rate), frames=round(seconds * info.sample_rate))
    channels = info.channels if info.channels <= MAX_CHANNELS else 1
    parts = list(audio.resample_blocks(audio.to_channels(source, channels), info.sample_rate, rate, channels))
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((channels, 0), np.float32)
    return np.nan_to_num(joined, nan=0.0, posinf=0.0, neginf=0.0)[:, : round(seconds * rate)]


def match_loudness(versions: Mapping[str, Audio], rate: int) -> tuple[dict[str, Audio], dict[str, float]]:
    """Bring all versions to one loudness (-23 LUFS, or less if a peak would pass -1.5 dBFS), with 10 ms fades.

    Returns:
        The versions and their gains in dB. A silent version stays as it is; an output that holds nothing gets the input's gain.
    """
    levels = {name: level for name, version in versions.items() if (level := loudness(version, rate)) is not None}
    gains = {name: TARGET_LUFS - level for name, level in levels.items()}
    if levels.get("after", math.inf) < levels.get("before", -math.inf) - RESIDUE_DB:
        gains["after"] = gains["before"]
    peaks = {name: float(np.abs(versions[name]).max()) * 10 ** (gain / 20) for name, gain in gains.items()}
    common = min(0.0, 20 * float(np.log10(PEAK_CEILING / max([*peaks.values(), 1e-9]))))
    fade = _fade(next(iter(versions.values())).shape[1], rate)
    gains = {name: gains[name] + common if name in gains else 0.0 for name in versions}
    return {
        name: (version * 10 ** (gains[name] / 20) * fade).astype(np.float32) for name, version in versions.items()
    }, gains


def loudness(version: Audio, rate: int) -> float | None:
    """Level in LUFS, also below the gate and of less than 400 ms; None for digital silence."""
    return reading(lambda: [version], rate, version.shape[0]).lufs


def _fade(length: int, rate: int) -> NDArray[np.float64]:
    curve = np.ones(length)
    size = min(round(FADE_SEC * rate), length // 2)
    if size:
        curve[:size] = np.linspace(0, 1, size)
        curve[-size:] = np.linspace(1, 0, size)
    return curve


def write_mp3(path: Path, version: Audio, rate: int) -> None:
    """Write `[C, T]` as MP3 of constant quality, atomically."""
    with (
        replacing(path) as temporary,
        sf.SoundFile(
            str(temporary), "w", rate, version.shape[0], format="MP3", subtype="MPEG_LAYER_III",
            compression_level=MP3_COMPRESSION, bitrate_mode="VARIABLE",
        ) as file,
    ):  # fmt: skip
        file.write(np.ascontiguousarray(version.T))
