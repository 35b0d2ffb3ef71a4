"""Stem data sets on disk: tracks in the layouts of MUSDB18-HQ and MoisesDB, and the residual of a mixture less its stems."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.names import as_text

SUFFIXES = (".wav", ".flac")
SUBSETS = ("train", "test", "valid")
MIXTURE = "mixture"
FULL_SCALE = 32767 / 32768  # PCM_16's highest sample: at or above it a sample may have been cut
CLIPPED_RUN = 3  # least number of such samples in a row that is clipping; one alone may be a peak
SILENCE_DBFS = -90.0  # peak below this: a file of dither or nothing
MIN_DB = -120.0  # residuals are reported no lower: float32 sums carry no more
LENGTH_TOLERANCE_SEC = 0.01  # an exporter's rounding; a shorter stem is filled with silence, a longer one is cut
QUIET_CHANNEL = 1e-4  # share of the loudest channel's power (-40 dB): the least that a residual is measured against
CHANNELS = {1: ("the only channel",), 2: ("the left channel", "the right channel")}


@dataclass(frozen=True)
class Track:
    """One track. `stems` by name (MoisesDB has several files per stem); `mixture` None where the layout has none. Names: `as_text`."""

    name: str
    subset: str
    layout: str
    mixture: Path | None
    stems: dict[str, list[Path]]

    @property
    def files(self) -> list[Path]:
        return [path for paths in self.stems.values() for path in paths]


def find_tracks(root: Path) -> list[Track]:
    """All tracks below a folder, sorted by subset and name.

    MUSDB18-HQ: `[train|test/]TRACK/{mixture,vocals,drums,bass,other}.wav`. MoisesDB: `TRACK/data.json` and `TRACK/STEM/*.wav`.

    Raises:
        AudioRestorerError: no such folder, or no track of either layout.
    """
    if not root.is_dir():
        raise AudioRestorerError(f"{root}: no such folder")
    tracks = []
    for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
        track = _moises(folder, root) if (folder / "data.json").is_file() else _musdb(folder, root)
        if track is not None:
            tracks.append(track)
    if not tracks:
        raise AudioRestorerError(
            f"{root}: no tracks. Understood are MUSDB18-HQ ([train|test/]TRACK/mixture.wav, vocals.wav, ...)"
            " and MoisesDB (TRACK/data.json, TRACK/STEM/*.wav)"
        )
    return tracks


def _audio_files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _subset(folder: Path, root: Path) -> str:
    return next((part for part in folder.relative_to(root).parts[:-1] if part in SUBSETS), "")


def _musdb(folder: Path, root: Path) -> Track | None:
    files = {as_text(path.stem): path for path in _audio_files(folder)}
    mixture = files.pop(MIXTURE, None)
    if mixture is None:
        return None
    return Track(
        as_text(folder.name),
        _subset(folder, root),
        "musdb18hq",
        mixture,
        {name: [path] for name, path in files.items()},
    )


def _moises(folder: Path, root: Path) -> Track:
    parts = {as_text(path.name): _audio_files(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    mixture = next((path for path in _audio_files(folder) if path.stem == MIXTURE), None)
    return Track(
        as_text(folder.name),
        _subset(folder, root),
        "moises",
        mixture,
        {name: files for name, files in parts.items() if files},
    )


@dataclass
class Finding:
    """Audit of one track. `residual_db` is that of the worst channel, None with its reason in `residual_missing`;
    `reasons` say why the track failed, `notes` name what was tolerated."""

    track: Track
    residual_db: float | None = None
    residual_channel: str = ""
    residual_missing: str = ""
    sample_rate: int | None = None
    channels: int | None = None
    duration_sec: float | None = None
    clipped_share: float = 0.0
    silent_files: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.reasons


def audit(track: Track, tol_db: float) -> Finding:
    """Measure one track, in blocks.

    The residual is 10 log10(|mixture - sum of stems|^2 / |mixture|^2) over the whole track, for each channel by itself: the worst
    counts, so that a good channel cannot hide a bad one. Above `tol_db` the track fails; so it does for files that differ in rate,
    in channels, or in length by more than LENGTH_TOLERANCE_SEC, that hold NaN, that cannot be read, and for a silent mixture.
    Clipping and silent stems are reported (mastered mixtures clip, and a stem may rest).
    """
    finding = Finding(track)
    files = ([track.mixture] if track.mixture else []) + track.files
    infos = {}
    for path in files:
        try:
            infos[path] = audio.probe(path)
        except AudioRestorerError as error:
            finding.reasons.append(str(error))
    if not track.stems:
        finding.reasons.append("no stems")
    if finding.reasons or not infos:
        finding.residual_missing = "a file cannot be read" if infos or files else "no files"
        return finding
    first = next(iter(infos.values()))
    finding.sample_rate, finding.channels, finding.duration_sec = (
        first.sample_rate,
        first.channels,
        round(first.duration_sec, 3),
    )
    _compare(files[0], infos, finding)
    if finding.reasons:
        finding.residual_missing = "the files do not fit together"
        return finding
    try:
        _measure(track, files, finding)
    except AudioRestorerError as error:
        finding.reasons.append(str(error))
        finding.residual_missing = "a file cannot be read to its end"
        return finding
    if finding.residual_db is not None and finding.residual_db > tol_db:
        finding.reasons.append(
            f"residual {finding.residual_db:.1f} dB in {finding.residual_channel}, above {tol_db:g} dB:"
            " the stems do not sum to the mixture"
        )
    return finding


def _compare(first: Path, infos: dict[Path, audio.AudioInfo], finding: Finding) -> None:
    """Compare rate, channels and length of the files with the first one, which is the mixture where there is one."""
    wanted = infos[first]
    for attribute in ("sample_rate", "channels"):
        wrong = [
            f"{path.name} {getattr(info, attribute)}"
            for path, info in infos.items()
            if getattr(info, attribute) != getattr(wanted, attribute)
        ]
        if wrong:
            finding.reasons.append(
                f"{attribute}: {first.name} has {getattr(wanted, attribute)}, but {', '.join(wrong)}"
            )
    lengths = {path: info for path, info in infos.items() if info.frames != wanted.frames}
    if lengths:
        message = f"frames: {first.name} has {wanted.frames}, but " + ", ".join(
            f"{p.name} {i.frames}" for p, i in lengths.items()
        )
        if all(lengths_fit(info, wanted) for info in lengths.values()):
            finding.notes.append(f"{message}: within {1000 * LENGTH_TOLERANCE_SEC:g} ms, cut or filled with silence")
        else:
            finding.reasons.append(message)


def lengths_fit(one: audio.AudioInfo, other: audio.AudioInfo) -> bool:
    """Whether two files of one sample rate are equally long, but for an exporter's rounding."""
    return abs(one.frames - other.frames) <= LENGTH_TOLERANCE_SEC * other.sample_rate


def _measure(track: Track, files: list[Path], finding: Finding) -> None:
    error, power = np.zeros(finding.channels or 1), np.zeros(finding.channels or 1)
    peaks = dict.fromkeys(files, 0.0)
    clipped = samples = 0
    broken: set[str] = set()
    for blocks in together(files):
        parts = dict(zip(files, blocks, strict=True))
        for path, block in parts.items():
            if not np.isfinite(block).all():
                broken.add(path.name)
                continue
            peaks[path] = max(peaks[path], float(np.abs(block).max(initial=0.0)))
            clipped += clipped_samples(block)
            samples += block.size
        if track.mixture and not broken:
            mixture = parts[track.mixture].astype(np.float64)
            rest = mixture - sum(parts[path].astype(np.float64) for path in track.files)
            error += np.square(rest).sum(axis=1)
            power += np.square(mixture).sum(axis=1)
    finding.clipped_share = clipped / max(samples, 1)
    finding.silent_files = [path.name for path, peak in peaks.items() if peak < 10 ** (SILENCE_DBFS / 20)]
    if broken:
        finding.reasons.append(f"NaN or infinite samples: {', '.join(sorted(broken))}")
        finding.residual_missing = "not finite"
    elif track.mixture is None:
        finding.residual_missing = "this layout has no mixture"
    elif track.mixture.name in finding.silent_files:
        finding.reasons.append(f"{track.mixture.name} is silent")
        finding.residual_missing = "the mixture is silent"
    else:
        ratios = error / np.maximum(power, QUIET_CHANNEL * power.max())
        worst = int(ratios.argmax())
        finding.residual_db = round(max(MIN_DB, 10 * math.log10(max(float(ratios[worst]), 1e-13))), 2)
        finding.residual_channel = CHANNELS[len(ratios)][worst] if len(ratios) in CHANNELS else f"channel {worst + 1}"


def together(files: list[Path]) -> Iterator[tuple[audio.Audio, ...]]:
    """The same stretch of all files `[C, n]`, block by block; the first file's length is that of all (cut, or filled with zeros)."""
    info = audio.probe(files[0])
    size = int(audio.BLOCK_SEC * info.sample_rate)
    fitted = (audio.rechunk(audio.fit_length(audio.blocks(path), info.frames), size) for path in files)
    yield from zip(*fitted, strict=True)


def clipped_samples(block: audio.Audio) -> int:
    """Samples at full scale that stand in runs of at least `CLIPPED_RUN`, over all channels of `[C, n]`."""
    total = 0
    for channel in np.abs(block) >= FULL_SCALE:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], channel.astype(np.int8), [0]])))
        runs = edges[1::2] - edges[::2]
        total += int(runs[runs >= CLIPPED_RUN].sum())
    return total
