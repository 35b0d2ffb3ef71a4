"""Restore recordings with one checkpoint: music or speech, at the input's own rate, channels and sample format, exactly as long.

Each channel goes through the network by itself. What the network cannot see, the band above its Nyquist frequency, is scaled by its
gain near the top of its own band (`separators.checkpoint`). Finished items lie in the store: a killed run goes on with the same line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, inside, keep_inputs, output_names, unique_ids, write_manifest
from audiorestorer.models.mask_unet import load_checkpoint
from audiorestorer.separators import pick_device
from audiorestorer.separators.checkpoint import Checkpoint, check_options
from audiorestorer.separators.streaming import How, Recording, estimates, full_band
from audiorestorer.stages.shard import Made, RejectItem, Stage, run_items
from audiorestorer.store import Entry, place, sha256_file

log = logging.getLogger("audiorestorer")
ROWS = "restore.jsonl"
LOSSLESS = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac"}


def run(
    source: Path,
    out: Path,
    checkpoint: Path,
    *,
    wet: float = 1.0,
    overlap: int | None = None,
    floor_db: float | None = None,
    store: Path = Path("artifacts/store"),
    device: str = "auto",
    threads: int = 1,
) -> list[Item]:
    """Restore a file or a folder.

    Args:
        source: a recording, or a folder of them (any nesting).
        out: a folder, made where absent, which mirrors the tree; of a single recording also the file to write.
        wet: out = wet * restored + (1 - wet) * input.
        overlap, floor_db: see `MaskUNet.speech_and_mask`; the floor in dB below the input.

    Returns:
        The rows, also in `restore.jsonl` in the output folder (beside a single output file: none): `output`, and of a rejected
        recording the reason.

    Raises:
        AudioRestorerError: nothing to do, an output that would replace an input, or a checkpoint that cannot be used.
        StageFailed: a recording failed in an unforeseen way; the others are done.
    """
    if not 0 <= wet <= 1:
        raise AudioRestorerError(f"wet {wet:g}: must lie in [0, 1]")
    network, metadata = load_checkpoint(checkpoint)
    check_options(network, overlap, floor_db)
    rate = int(metadata["sample_rate"])
    single = source.is_file()
    folder = out.parent if single and out.suffix.lower() in audio.SUFFIXES else out
    items = [_inspected(item) for item in _items(source, out, folder)]
    keep_inputs([inside(folder, item.output or "") for item in items], [Path(item.noisy) for item in items])
    stage: Stage[Checkpoint] = Stage(
        name="restore",
        settings={"wet": wet, "overlap": overlap, "floor_db": floor_db},
        code=code_digest("stages.restore", "separators.checkpoint"),
        weights=sha256_file(checkpoint),
        load=lambda: Checkpoint(network, rate, pick_device(device, threads), overlap, floor_db),
        process=lambda separator, item, scratch: restore_item(separator, item, wet, scratch),
        describe=_describe,
        inputs=lambda item: [item.sha256, Path(item.output or "").suffix.lower()],
    )
    rows = [_placed(item, folder) for item in run_items(stage, items, store)]
    if folder is out:
        write_manifest(out / ROWS, rows)
    print(f"{sum(item.ok for item in rows)} of {len(rows)} restored", flush=True)
    return rows


def restore_item(separator: Checkpoint, item: Item, wet: float, folder: Path) -> Made:
    """Write the restored recording in its input's sample format; where an integer one would clip, the whole is turned down.

    Raises:
        RejectItem: unreadable, empty, or not finite.
    """
    info = audio.probe(item.noisy)
    kind, subtype = audio.output_format(info, Path(item.output or "").suffix.lower())
    whole, target = folder / "whole.wav", folder / f"restored{Path(item.output or '').suffix.lower()}"
    peak = 0.0

    def blocks() -> Iterator[audio.Audio]:
        nonlocal peak
        for block in estimates(separator, Recording.of_file(item.noisy), How()):
            made = np.asarray(wet * full_band(block) + (1 - wet) * block["input"], np.float32)
            peak = max(peak, float(np.abs(made).max(initial=0.0)))
            yield made

    try:
        audio.write_blocks(whole, blocks(), info.sample_rate, info.channels, expected_frames=info.frames)
    except AudioRestorerError as error:
        raise RejectItem(str(error)) from error
    ceiling = 1 - 2**-15
    gain = ceiling / peak if peak > ceiling and subtype not in ("FLOAT", "DOUBLE") else 1.0
    audio.write_blocks(
        target, (np.float32(gain) * block for block in audio.blocks(whole)), info.sample_rate, info.channels,
        format=kind, subtype=subtype, expected_frames=info.frames,
    )  # fmt: skip
    whole.unlink()
    return Made({target.name: target}, {"gain_db": round(20 * float(np.log10(gain)), 3)})


def _items(source: Path, out: Path, folder: Path) -> list[Item]:
    """What is to be done; `output` is the path below the output folder: WAV and FLAC stay what they are, others become FLAC."""
    if source.is_file():
        name = out.name if folder is not out else f"{source.stem}{_suffix(source)}"
        if Path(name).suffix.lower() not in (".wav", ".flac"):
            raise AudioRestorerError(f"{out}: outputs are .wav or .flac")
        return [
            Item(
                id=next(iter(unique_ids([source.name]).values())), noisy=str(source), relative=source.name, output=name
            )
        ]
    paths = audio.recordings(source, out)
    ids = unique_ids(list(paths))
    outputs = output_names({name: str(Path(name).with_suffix(_suffix(path))) for name, path in paths.items()})
    return [Item(id=ids[name], noisy=str(path), relative=name, output=outputs[name]) for name, path in paths.items()]


def _suffix(path: Path) -> str:
    """What keeps a recording's format, whatever its name says; of what cannot be read, its name."""
    try:
        return LOSSLESS.get(audio.probe(path).format, ".flac")
    except AudioRestorerError:
        return ".wav" if path.suffix.lower() == ".wav" else ".flac"


def _inspected(item: Item) -> Item:
    try:
        info = audio.probe(item.noisy)
        if not info.frames:
            raise AudioRestorerError(f"{item.noisy}: empty: no samples")
        return item.updated(
            path=item.noisy, sha256=sha256_file(item.noisy), sr=info.sample_rate, channels=info.channels,
            duration=round(info.duration_sec, 6),
        )  # fmt: skip
    except (AudioRestorerError, OSError) as error:
        log.warning("restore: rejected: %s", error)
        return item.rejected(f"restore: {error}")


def _describe(entry: Entry, item: Item) -> Item:
    (name,) = entry.files
    return item.updated(**entry.row, path=str(entry.files[name]), sha256=entry.sha256[name])


def _placed(item: Item, folder: Path) -> Item:
    """The row, and the finished file under its name."""
    if not item.ok:
        return item
    assert item.path and item.output
    target = inside(folder, item.output)
    if not (target.exists() and target.samefile(item.path)):
        place(Path(item.path), target)
    return item.updated(published=str(target))
