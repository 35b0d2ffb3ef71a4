"""loudness: bring each file to the target loudness below the true-peak ceiling, in the input's rate, channels and sample format.

Each row also says what was taken from the loudest 0.4 s of the recording on its way here: speech may have been erased.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.config import LoudnessSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp import loudness as meter
from audiorestorer.dsp.reading import SPIKE_DB, Kind, Reading, Spikes, reading
from audiorestorer.errors import AudioRestorerError, MachineError
from audiorestorer.files import read_json
from audiorestorer.formats import encoding, metadata, riff, tagging, video
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, RejectItem, Stage, run_shard
from audiorestorer.store import Entry

log = logging.getLogger("audiorestorer")

TOLERANCE_LU = 0.05
REPORTED_LU = 0.1  # what is further from the target gets a note
LEAST_SLOPE = 0.2
MEASURED = "measured.wav"  # of a surround output the channels that were restored
LEAST_BIT_RATE = 48_000  # per channel: what was coded lower is coded so, since coding it again costs sound
ATTEMPTS = 4
DUAL_MONO_LU = 10 * math.log10(2)  # what a signal on two channels reads more than on one
TAKEN_DB = 12.0  # of the loudest 0.4 s: what loses more is to be listened to
NO_SPEECH_DB = 30.0  # below the input where the output is loudest: no separator finds speech there, this is what it leaves of the rest
LISTEN = "nobody speaks in it, or the speech was taken away: listen to it"


@dataclass(frozen=True)
class Goal:
    """Of one file: the loudness to reach, the ceiling of the true peak, and the largest gain."""

    target_lufs: float
    true_peak_dbtp: float
    max_gain_db: float


@dataclass
class Plan:
    """What is tried next: the gain in dB, the limiter's ceiling (None: no limiter), and the gain and loudness of the try before."""

    gain_db: float
    ceiling_dbtp: float | None
    before: tuple[float, float] | None = None


@dataclass(frozen=True)
class Taken:
    """What the chain took from a recording before the gain (LUFS and dB; None: digital silence).

    `under_db` is how far the output lies below the input in the 0.4 s where the output is loudest: small where speech is kept, be the
    music or a slammed door before it ever so loud; infinite where there is no output.
    """

    loudest_in_lufs: float | None
    loudest_out_lufs: float | None
    under_db: float

    @property
    def taken_db(self) -> float | None:
        if self.loudest_in_lufs is None or self.loudest_out_lufs is None:
            return None
        return self.loudest_in_lufs - self.loudest_out_lufs

    @property
    def is_residue(self) -> bool:
        return self.under_db >= NO_SPEECH_DB

    def note(self) -> str | None:
        """The sentence for the report's first page, or None where the speech is there."""
        if self.loudest_in_lufs is None:
            return "no speech found: the recording is silent"
        if self.loudest_out_lufs is None:
            return f"no speech found: the output is silent; {LISTEN}"
        if self.is_residue:
            return (
                f"no speech found: what is left lies {self.under_db:.0f} dB below the input and is not raised; {LISTEN}"
            )
        if self.taken_db is not None and self.taken_db > TAKEN_DB:
            return f"the loudest 0.4 s lost {self.taken_db:.0f} dB: speech may have been taken away: listen to it"
        return None

    def row(self) -> dict[str, float]:
        fields = {
            "loudest_in_lufs": self.loudest_in_lufs,
            "loudest_out_lufs": self.loudest_out_lufs,
            "taken_db": self.taken_db,
        }
        return {name: round(value, 2) for name, value in fields.items() if value is not None}


def taken(given: Reading, made: Reading) -> Taken:
    """Compare a recording with what the chain made of it. Both have the same length."""
    place = int(np.argmax(made.moments))
    there = float(given.moments[min(place, len(given.moments) - 1)])
    left = float(made.moments[place])
    under = math.inf if left <= 0 else 10 * math.log10(there / left) if there > 0 else -math.inf
    return Taken(given.loudest_lufs, made.loudest_lufs, under)


def goal_of(settings: LoudnessSettings, channels: int, is_residue: bool) -> Goal:
    """The settings for one file: a mono file's target under `dual_mono`, and no gain for what is no speech."""
    is_dual = settings.dual_mono and channels == 1
    return Goal(
        settings.target_lufs - (DUAL_MONO_LU if is_dual else 0.0),
        settings.true_peak_dbtp,
        0.0 if is_residue else settings.max_gain_db,
    )


def first_plan(level: Reading, goal: Goal) -> Plan:
    """The gain to the target, and a limiter where the true peak would then be above the ceiling. Silence: 0 dB."""
    gain = 0.0 if level.lufs is None else min(goal.target_lufs - level.lufs, goal.max_gain_db)
    peak = -math.inf if level.true_peak_dbtp is None else level.true_peak_dbtp + gain
    return Plan(gain, goal.true_peak_dbtp if peak > goal.true_peak_dbtp - meter.MARGIN_DB else None)


def next_plan(plan: Plan, level: Reading, goal: Goal) -> Plan | None:
    """What to try after `plan` gave `level`; None where nothing is left to mend. The gain goes by the secant of the last two tries."""
    over = -math.inf if level.true_peak_dbtp is None else level.true_peak_dbtp - goal.true_peak_dbtp
    short = 0.0 if level.lufs is None else goal.target_lufs - level.lufs
    slope = 1.0
    if plan.before is not None and level.lufs is not None and plan.gain_db != plan.before[0]:
        slope = min(1.0, max(LEAST_SLOPE, (level.lufs - plan.before[1]) / (plan.gain_db - plan.before[0])))
    step = short / slope if abs(short) > TOLERANCE_LU else 0.0
    gain = min(plan.gain_db + step, goal.max_gain_db)
    if over <= 0 and abs(gain - plan.gain_db) < TOLERANCE_LU / 10:
        return None
    held = goal.true_peak_dbtp if plan.ceiling_dbtp is None else plan.ceiling_dbtp
    limiter = plan.ceiling_dbtp is not None or over > 0 or (level.true_peak_dbtp or 0) + step > goal.true_peak_dbtp
    before = None if level.lufs is None else (plan.gain_db, level.lufs)
    return Plan(gain, held - max(0.0, over) if limiter else None, before)


def how_measured(level: Reading) -> str | None:
    """Where the level before the gain is not simply BS.1770's loudness: what it is."""
    if level.lufs is None:
        return "digital silence: it has no loudness, and the gain is 0 dB"
    parts = []
    if level.kind is Kind.SHORT:
        parts.append(
            f"shorter than 400 ms: levelled by the mean of all there is ({level.lufs:.1f} LUFS before the gain)"
        )
    elif level.kind is Kind.BELOW_GATE:
        parts.append(
            f"below BS.1770's gate of {meter.ABSOLUTE_GATE_LUFS:g} LUFS: levelled with the gate moved down"
            f" ({level.lufs:.1f} LUFS before the gain)"
        )
    if level.spikes is not None:
        parts.append(
            f"spikes of up to {level.true_peak_dbtp or 0.0:.1f} dBTP, more than {SPIKE_DB:g} dB above the rest, do not count"
        )
    return "; ".join(parts) or None


def what_is_missing(plan: Plan, level: Reading, goal: Goal, is_residue: bool) -> str | None:
    """Why the output did not reach the target, or None."""
    short = 0.0 if level.lufs is None else goal.target_lufs - level.lufs
    if abs(short) <= REPORTED_LU:
        return None
    if is_residue and plan.gain_db >= 0:
        return "the gain is held at 0 dB: no speech was found"
    if plan.gain_db >= goal.max_gain_db:
        return f"{short:+.2f} LU short of the target: the gain is held at max_gain_db ({goal.max_gain_db:g} dB)"
    return f"the true-peak ceiling leaves the loudness {short:+.2f} LU short of the target"


def render(stream: Iterator[audio.Audio], info: audio.AudioInfo, plan: Plan, before: Reading) -> Iterator[audio.Audio]:
    """The stream with its gain, limited where the plan has a ceiling.

    Spikes are cut to the level that makes them spikes before they are limited: the limiter would else turn down the speech around them
    by as much as they stick out, and for longer.
    """
    if plan.ceiling_dbtp is None:
        return meter.scaled(stream, plan.gain_db)
    if before.spikes is not None:
        limit = np.float32(before.spikes.limit)
        stream = (np.clip(block, -limit, limit) for block in stream)
    return meter.limited(meter.scaled(stream, plan.gain_db), info.sample_rate, plan.ceiling_dbtp)


def read_level(path: str | Path, info: audio.AudioInfo, spikes: Spikes | None = None) -> Reading:
    """A file's level, its spikes left out.

    Raises:
        RejectItem: it holds NaN or infinity.
    """
    return _level(lambda: audio.blocks(path), info, spikes)


def _level(open_: Callable[[], Iterator[audio.Audio]], info: audio.AudioInfo, spikes: Spikes | None = None) -> Reading:
    try:
        return reading(open_, info.sample_rate, info.channels, spikes)
    except ValueError as error:
        raise RejectItem(str(error)) from error


@dataclass(frozen=True)
class Program:
    """What is brought to its loudness: the restored recording, or a surround recording with its restored channels."""

    open: Callable[[], Iterator[audio.Audio]]
    info: audio.AudioInfo


def _program(item: Item) -> Program:
    path = item.path or ""
    if item.whole is None:
        return Program(lambda: audio.blocks(path), audio.probe(path))
    whole, channels = item.whole, item.restored_channels or []
    given, restored_as = audio.probe(whole), audio.probe(path)
    info = replace(
        given, sample_rate=restored_as.sample_rate, frames=restored_as.frames
    )  # an enhancer may raise the rate

    def joined() -> Iterator[audio.Audio]:
        size = 1 << 16
        others = audio.resample_blocks(audio.blocks(whole), given.sample_rate, info.sample_rate, given.channels)
        for block, restored in zip(
            audio.rechunk(audio.fit_length(others, info.frames), size),
            audio.rechunk(audio.blocks(path), size),
            strict=True,
        ):
            block[channels] = restored
            yield block

    return Program(joined, info)


def _tagged(target: Path, said: metadata.Metadata, level: Reading) -> str | None:
    """Write what the recording says of itself into the output; a sentence about what its format does not carry."""
    if not said:
        return None
    info = audio.probe(target)
    bits = {"PCM_16": 16, "PCM_24": 24}.get(info.subtype, 32)
    measured = riff.Measured(
        level.standard_lufs, level.true_peak_dbtp, info.sample_rate, bits, info.channels, "AudioRestorer"
    )
    copy = target.with_name(f"tagged{target.suffix}")
    try:
        shutil.copyfile(target, copy)
        lost = tagging.write(copy, said, measured)
        os.replace(copy, target)
        return lost
    except OSError:
        raise
    except Exception as error:  # tags are anybody's, and mutagen raises what it meets: the sound is worth more
        copy.unlink(missing_ok=True)
        return f"not in the output: its tags, which could not be written ({type(error).__name__}: {error})"


def _merged(item: Item, sound: Path, target: Path) -> tuple[Path, str | None]:
    """The video with its new sound, and what of it its format does not take."""
    track = video.Track(item.track or 1, item.track_start_sec or 0.0)
    try:
        lost = video.merge(Path(item.source or ""), sound, target, track)
    except MachineError:
        raise
    except AudioRestorerError as error:
        raise RejectItem(f"{error}; loudness: {{video: audio}} gives its sound alone") from error
    sound.unlink()
    return target, lost


def bit_rate_of(settings: LoudnessSettings, item: Item) -> int | None:
    """bit/s of a coded output, as set or as the recording has it; None: what sounds well."""
    if settings.bitrate != "keep":
        return 1000 * int(settings.bitrate.removesuffix("k"))
    return None if item.bit_rate is None else max(item.bit_rate, LEAST_BIT_RATE * (item.channels or 1))


def loudness_item(item: Item, settings: LoudnessSettings, folder: Path) -> ItemResult:
    """Write the output, measure it as it stands on disk (a coded one decoded again), and correct gain and ceiling until both fit.

    Raises:
        RejectItem: the speech or the input holds NaN or infinity.
    """
    program = _program(item)
    info, given = program.info, audio.probe(item.noisy)
    suffix = Path(item.output or "x.wav").suffix.lower()
    if item.source is None and suffix in video.CONTAINERS:
        raise RejectItem("its name is that of a video and it holds none: give it the suffix of what it is")
    if item.source is None:
        kind, subtype = audio.output_format(given if item.whole is None else info, suffix, settings.subtype, item.codec)
        target = folder / f"output{suffix}"
    else:
        _, kind, sound = video.CONTAINERS[suffix]
        subtype, target = "keep", folder / f"sound{sound}"
    said = metadata.Metadata.from_json(read_json(item.metadata)) if item.metadata else metadata.Metadata()
    before = _level(program.open, info)
    speech = before if item.whole is None else read_level(item.path or "", audio.probe(item.path or ""))
    lost = taken(read_level(item.noisy, given), speech)
    goal = goal_of(settings, info.channels, lost.is_residue)
    plan = first_plan(before, goal)
    if kind in encoding.CODINGS:
        try:
            encoding.check(kind, info.channels)
        except AudioRestorerError as error:
            raise RejectItem(str(error)) from error
    for attempt in range(1, ATTEMPTS + 1):
        audio.write_blocks(
            target, render(program.open(), info, plan, before), info.sample_rate, info.channels,
            format=kind, subtype=subtype, expected_frames=info.frames, bit_rate=bit_rate_of(settings, item),
            chapters=said.chapters,
        )  # fmt: skip
        made = audio.probe(target)
        level = read_level(target, made, before.spikes and before.spikes.after(plan.gain_db))
        following = next_plan(plan, level, goal)
        if following is None or attempt == ATTEMPTS:
            break
        plan = following
    is_levelled = before.lufs is None or not lost.is_residue
    sentences = [how_measured(before) if is_levelled else None, what_is_missing(plan, level, goal, lost.is_residue)]
    found = {
        "loudness": "; ".join(text for text in sentences if text),
        "speech": lost.note(),
        "tags": _tagged(target, said, level) if item.source is None else None,
    }
    if item.source is not None:
        target, found["tags"] = _merged(item, target, folder / f"output{suffix}")
    notes = {name: text for name, text in found.items() if text}
    row: dict[str, Any] = {
        "gain_db": round(plan.gain_db, 4), "limited": plan.ceiling_dbtp is not None, "target_lufs": round(goal.target_lufs, 4),
        "input_lufs": before.standard_lufs, "output_lufs": level.standard_lufs, "true_peak_dbtp": level.true_peak_dbtp,
        **lost.row(), **({"notes": notes} if notes else {}),
    }  # fmt: skip
    log.info("loudness: %s: gain %+.2f dB%s", item.id, plan.gain_db, ", limited" if row["limited"] else "")
    files = {target.name: target}
    if item.whole is not None:
        files[MEASURED] = folder / MEASURED
        chosen = (block[item.restored_channels] for block in audio.blocks(target))
        audio.write_blocks(
            files[MEASURED], chosen, made.sample_rate, len(item.restored_channels or []), expected_frames=made.frames
        )
    return ItemResult(files, row)


def _describe(entry: Entry, item: Item) -> Item:
    name = next(name for name in entry.files if name != MEASURED)
    measured = str(entry.files[MEASURED]) if MEASURED in entry.files else None
    return item.updated(
        **entry.row, path=str(entry.files[name]), sha256=entry.sha256[name], measured=measured,
        measured_sha256=entry.sha256.get(MEASURED),
        mixture=None, mixture_sha256=None,  # no later stage reads it, and it may go with the other intermediates
    )  # fmt: skip


def run(in_manifest: Path, out_manifest: Path, config: LoudnessSettings, job: Job) -> None:
    """Bring a shard to its loudness."""
    stage: Stage[None] = Stage(
        name="loudness",
        settings=config.model_dump(exclude={"format"}),
        code=code_digest("stages.loudness"),
        load=lambda: None,
        process=lambda _, item, folder: loudness_item(item, config, folder),
        describe=_describe,
        # the container follows the output's suffix, the sample format, codec and bit rate the input's
        inputs=lambda item: [
            item.sha256,
            item.noisy_sha256,
            Path(item.output or "x.wav").suffix.lower(),
            item.codec,
            item.bit_rate,
            item.metadata_sha256,
            item.whole_sha256,
            item.source_sha256,
            item.track,
        ],  # fmt: skip
    )
    run_shard(stage, read_manifest(in_manifest), out_manifest, job.store, [in_manifest])
