"""Build a training manifest from stems, from a folder of clean recordings, or from noisy/clean pairs; splits never share a track."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.datasets.splits import SPLITS, joined, split_of
from audiorestorer.datasets.stems import SUBSETS, find_tracks, lengths_fit, together
from audiorestorer.datasets.training_manifest import check_manifest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import named_from, read_csv, read_json, write_json, write_rows
from audiorestorer.intake.pairs import references_of
from audiorestorer.manifest import unique_ids
from audiorestorer.names import NOT_TEXT, as_text, is_text

LAYOUTS = ("stems", "folder", "pairs")
SUM = "sum"


@dataclass
class _Source:
    """One recording before it has a split; `parts` are the files whose sum is the clean signal."""

    id: str
    track: str
    subset: str
    parts: list[Path]
    noisy: Path | None = None
    stems: list[str] | None = None
    speaker: str | None = None
    digest: str = ""
    silent: bool = False
    info: audio.AudioInfo | None = None


def run(
    root: Path,
    out_manifest: Path,
    *,
    layout: str = "stems",
    target: str = SUM,
    audit_csv: Path | None = None,
    render: Path | None = None,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    keep_subsets: bool = True,
    speakers: Path | None = None,
    min_sec: float = 1.0,
) -> dict[str, Any]:
    """Write the manifest, and beside it the counts (`.json`). A recording whose name is not UTF-8 is left out, and said so.

    Args:
        layout: stems (MUSDB18-HQ, MoisesDB), folder (clean recordings), pairs (`noisy/` and `clean/` with the same names).
        target: of stems: `sum`, or the name of one stem.
        audit_csv: of `audit-stems`: tracks that failed are left out.
        render: where sums of stems are written, once. Default: `clean/` beside the manifest.
        shares: of train, valid and test. A track's split follows from its group's name (speaker, else track) and the seed alone;
            only where a small data set leaves train or valid empty, a group is moved there.
        keep_subsets: a data set's own test (valid, train) folder stays so.
        speakers: JSON, track name (of a folder: the row's id) -> speaker; tracks of one speaker go together.
        min_sec: a shorter recording is an error.

    Raises:
        AudioRestorerError: no recordings, a bad file (file and reason), content or a speaker in two of the data set's own splits,
            shares, an audit or speakers that cannot be used. (Splits that training needs are checked by `check_manifest`.)
    """
    if layout not in LAYOUTS:
        raise AudioRestorerError(f"layout {layout!r}: not one of {', '.join(LAYOUTS)}")
    if min(shares) < 0 or sum(shares) <= 0:
        raise AudioRestorerError(f"shares {shares}: of train, valid and test; none below zero, and not all zero")
    root, out_manifest = Path(root), Path(out_manifest)
    sources, left_out = _sources(root, layout, target, audit_csv)
    kept = [source for source in sources if _named(source)]
    if not kept:
        raise AudioRestorerError(f"{root}: none of its {len(sources)} recordings has a name that is UTF-8: rename them")
    sources, left_out = kept, left_out + len(sources) - len(kept)
    names = _speakers(speakers, sources) if speakers else {}
    for source in sources:
        source.speaker = names.get(source.track)
        _examine(source, min_sec)
    splits = _splits(sources, shares, seed, keep_subsets)
    folder = Path(render) if render else out_manifest.parent / "clean"
    rows = [_row(source, splits[source.id], folder, out_manifest.parent) for source in sources]
    write_rows(out_manifest, rows)
    check_manifest(out_manifest, splits=())
    counts = Counter(row["split"] for row in rows)
    minutes = {split: round(sum(r["duration"] for r in rows if r["split"] == split) / 60, 3) for split in SPLITS}
    summary = {
        "rows": len(rows),
        "left_out": left_out,
        "splits": {s: counts.get(s, 0) for s in SPLITS},
        "minutes": minutes,
    }
    write_json(out_manifest.with_suffix(".json"), summary)
    shown = ", ".join(f"{split} {counts.get(split, 0)} ({minutes[split]:.1f} min)" for split in SPLITS)
    print(f"{len(rows)} recordings: {shown}; {left_out} left out (failed the audit, or a name that is not UTF-8)")
    rates = sorted({row["sr"] for row in rows})
    if len(rates) > 1:
        print(f"sr: {', '.join(map(str, rates))} Hz: a network of one rate needs mixtures.resample")
    return summary


def _speakers(path: Path, sources: list[_Source]) -> dict[str, str]:
    names = read_json(path)
    for track, name in names.items():
        if not isinstance(name, str) or not name:
            raise AudioRestorerError(f"{path}: {track}: {name!r} is no speaker's name (text)")
    if not any(source.track in names for source in sources):
        raise AudioRestorerError(f"{path}: names no track of this data set (its first is {sources[0].track!r})")
    return names


def _sources(root: Path, layout: str, target: str, audit_csv: Path | None) -> tuple[list[_Source], int]:
    if layout == "stems":
        return _stem_sources(root, target, audit_csv)
    clean = root / "clean" if layout == "pairs" else root
    paths = audio.recordings(clean)
    ids = unique_ids(list(paths))
    halves = references_of(root / "noisy" if layout == "pairs" else None, list(paths))
    sources = []
    for name, path in paths.items():
        noisy = halves.of.get(name)
        if noisy is None and layout == "pairs" and not is_text(name):
            noisy = root / "noisy" / name  # no name that pairs could be sources by: `_named` leaves it out
        if noisy is None and layout == "pairs":
            raise AudioRestorerError(f"{root / 'noisy' / name}: the noisy half of {path} is missing")
        subset = next((part for part in path.relative_to(clean).parts[:-1] if part in SUBSETS), "")
        sources.append(_Source(ids[name], ids[name], subset, [path], noisy))
    return sources, 0


def _named(source: _Source) -> bool:
    """Whether a row can name its files; says of one that cannot."""
    wrong = [as_text(str(path)) for path in (*source.parts, source.noisy) if path and not is_text(str(path))]
    if wrong:
        print(f"left out: {wrong[0]}: {NOT_TEXT}", flush=True)
    return not wrong


def _stem_sources(root: Path, target: str, audit_csv: Path | None) -> tuple[list[_Source], int]:
    failed = _failed(audit_csv) if audit_csv else set()
    tracks = find_tracks(root)
    kept = [track for track in tracks if (track.subset, track.name) not in failed]
    if not kept:
        raise AudioRestorerError(f"{root}: all {len(tracks)} tracks failed the audit ({audit_csv})")
    ids = unique_ids([f"{track.subset}/{track.name}" for track in kept])
    sources = []
    for track in kept:
        if target != SUM and target not in track.stems:
            raise AudioRestorerError(
                f"{root}: track {track.name} has no stem {target!r}; it has {', '.join(track.stems)}"
            )
        stems = list(track.stems) if target == SUM else [target]
        parts = [path for stem in stems for path in track.stems[stem]]
        sources.append(_Source(ids[f"{track.subset}/{track.name}"], track.name, track.subset, parts, stems=stems))
    return sources, len(tracks) - len(kept)


def _failed(audit_csv: Path) -> set[tuple[str, str]]:
    rows = read_csv(audit_csv)
    missing = [column for column in ("subset", "track", "status") if not rows or column not in rows[0]]
    if missing:
        raise AudioRestorerError(
            f"{audit_csv}: {', '.join(missing)}: no such column, or no row (give audit-stems' CSV)"
        )
    return {(row["subset"], row["track"]) for row in rows if row["status"] != "ok"}


def _sum(parts: list[Path]) -> Iterator[audio.Audio]:
    for blocks in together(parts):
        yield np.sum(blocks, axis=0, dtype=np.float32) if len(blocks) > 1 else blocks[0]


def _examine(source: _Source, min_sec: float) -> None:
    """Read all of it once: its content's digest, and whether it can be trained on."""
    infos = [audio.probe(path) for path in source.parts]
    first = source.info = infos[0]
    for path, info in zip(source.parts, infos, strict=True):
        if (info.sample_rate, info.channels) != (first.sample_rate, first.channels) or not lengths_fit(info, first):
            raise AudioRestorerError(f"{path}: stems: differs from {source.parts[0]} in rate, channels or length")
    if first.duration_sec < min_sec:
        raise AudioRestorerError(f"{source.parts[0]}: duration: {first.duration_sec:.2f} s, shorter than {min_sec:g} s")
    digest = hashlib.sha256(f"{first.sample_rate} {first.channels}\n".encode())
    source.silent = True
    for block in _sum(source.parts):
        if not np.isfinite(block).all():
            raise AudioRestorerError(f"{source.parts[0]}: clean: holds NaN or infinite samples")
        digest.update(block.tobytes())
        source.silent = source.silent and not block.any()
    source.digest = digest.hexdigest()
    if source.noisy is not None:
        noisy = audio.probe(source.noisy)
        if (noisy.sample_rate, noisy.frames) != (first.sample_rate, first.frames):
            raise AudioRestorerError(f"{source.noisy}: noisy: differs from its clean half in rate or length")
        if not all(bool(np.isfinite(block).all()) for block in audio.blocks(source.noisy)):
            raise AudioRestorerError(f"{source.noisy}: noisy: holds NaN or infinite samples")


def _splits(
    sources: list[_Source], shares: tuple[float, float, float], seed: int, keep_subsets: bool
) -> dict[str, str]:
    """One split a group, and a group is what shares a track, a speaker or content: the data set's own split, else by hash."""
    # the smallest text names a group: a speaker before a track before content, so that one more track renames no speaker's group
    groups = joined(
        [
            (
                f"track {s.track}",
                *([f"speaker {s.speaker}"] if s.speaker else []),
                *([] if s.silent else [f"waveform {s.digest}"]),  # silence is nobody's content
            )
            for s in sources
        ]
    )
    members: dict[str, list[_Source]] = {}
    for source in sources:
        members.setdefault(str(groups[f"track {source.track}"]), []).append(source)
    split_by_group, pinned = {}, set()
    for group, group_members in members.items():
        own = _own_subset(group_members) if keep_subsets else ""
        # a data set that names its test set has no test among its training tracks
        left = (shares[0], shares[1], 0.0) if own == "train" else shares
        split_by_group[group] = own if own in ("test", "valid") or sum(left) <= 0 else split_of(group, left, seed)
        if own in ("test", "valid"):
            pinned.add(group)
    _fill(split_by_group, pinned, shares)
    twins = len(sources) - len({s.id if s.silent else s.digest for s in sources})
    if twins:
        print(f"{twins} recordings have the content of another one: each is in the other's split")
    return {source.id: split_by_group[group] for group, group_members in members.items() for source in group_members}


def _own_subset(group: list[_Source]) -> str:
    """The data set's own split of a group; members without one follow the others."""
    own: dict[str, _Source] = {}
    for source in group:
        if source.subset:
            own.setdefault(source.subset, source)
    if len(own) > 1:
        one, other, *_ = own.values()
        shared = "content" if one.digest == other.digest and not one.silent else "a speaker or a track name"
        raise AudioRestorerError(
            f"leak between splits: {one.parts[0]} ({one.subset}) and {other.parts[0]} ({other.subset}) share {shared},"
            " directly or through others"
        )
    return next(iter(own), "")


def _fill(split_by_group: dict[str, str], pinned: set[str], shares: tuple[float, float, float]) -> None:
    """A small data set can leave train or valid empty: one group of the fullest split moves there, if another remains."""
    for split, share in zip(SPLITS[:2], shares[:2], strict=True):
        if share <= 0 or split in split_by_group.values():
            continue
        free = [group for group in split_by_group if group not in pinned]
        counts = Counter(split_by_group[group] for group in free)
        donor = max(SPLITS, key=lambda name: counts[name])
        if counts[donor] > 1:
            group = max(
                (g for g in free if split_by_group[g] == donor),
                key=lambda g: hashlib.sha256(g.encode("utf-8", "replace")).digest(),
            )
            split_by_group[group] = split
            print(f"split {split} was empty: {group} moved there from {donor}")


def _row(source: _Source, split: str, render: Path, base: Path) -> dict[str, Any]:
    info = source.info
    assert info is not None
    clean = source.parts[0] if len(source.parts) == 1 else _rendered(source, render)
    row: dict[str, Any] = {
        "id": source.id, "split": split, "clean": named_from(clean, base),
        "noisy": named_from(source.noisy, base) if source.noisy else None,
        "sr": info.sample_rate, "duration": round(info.duration_sec, 6), "channels": info.channels, "track": source.track,
    }  # fmt: skip
    optional = {"speaker": source.speaker, "stems": source.stems}
    return {**row, **{k: v for k, v in optional.items() if v}, "sha256": source.digest, "finite": True}


def _rendered(source: _Source, folder: Path) -> Path:
    """The sum as float WAV, named by its content: what is there already is not made again."""
    path = folder / f"{source.id}-{source.digest[:12]}.wav"
    if not path.exists():
        info = source.info
        assert info is not None
        audio.write_blocks(path, _sum(source.parts), info.sample_rate, info.channels, expected_frames=info.frames)
    return path
