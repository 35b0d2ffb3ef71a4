"""The commands over a file or a folder: its recordings as items, and the finished files under their names."""

from __future__ import annotations

import logging
from pathlib import Path

from audiorestorer import audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import inside
from audiorestorer.folders import keep_apart, keep_inputs
from audiorestorer.manifest import Item, output_names, unique_ids, write_manifest
from audiorestorer.names import NOT_TEXT, as_text, is_text
from audiorestorer.published import HIDDEN, TAKE_OURS, Finished, Ledger, Publisher, folder_name
from audiorestorer.store import Entry, sha256_file

log = logging.getLogger("audiorestorer")
LOSSLESS = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac"}


def target_folder(source: Path, out: Path) -> Path:
    """The folder that outputs go to: `out`, or of a single recording with a file's name as `out` the folder of that."""
    return out.parent if source.is_file() and out.suffix.lower() in audio.SUFFIXES else out


def items_of(source: Path, out: Path, command: str, store: Path) -> list[Item]:
    """The recordings as rows; one that cannot be used is a rejected row. `output` is the path below `target_folder`.

    WAV and FLAC stay what they are, others become FLAC.

    Raises:
        AudioRestorerError: nothing to do, folders that overlap, an output that would replace an input, or whose name is not UTF-8.
    """
    if not is_text(str(out)):
        raise AudioRestorerError(f"{as_text(str(out))}: {NOT_TEXT}")
    folder = target_folder(source, out)
    if not source.is_file():
        keep_apart({"IN": source}, {"OUT": out, "--store": store})
    listed = _listed(source, out, folder)
    keep_inputs([inside(folder, item.output or "") for item, _ in listed], [path for _, path in listed])
    return [_inspected(item, path, command) for item, path in listed]


def describe(entry: Entry, item: Item) -> Item:
    """The row of a finished entry with one file."""
    (name,) = entry.files
    return item.updated(**entry.row, path=str(entry.files[name]), sha256=entry.sha256[name])


def delivered(items: list[Item], source: Path, out: Path, rows: str, store: Path, stage: str) -> list[Item]:
    """The rows, with copies of the finished files under their names; a name that somebody's file has is kept (`published_kept`: why).

    Args:
        rows: name of a manifest of them in the output folder (beside a single output file: none).
        stage: whose folder in the store holds the finished files.
    """
    folder = target_folder(source, out)
    named = folder_name(source if source.is_dir() else source.parent)
    publisher = Publisher(Ledger(store / HIDDEN), folder, Finished(store / stage), named)
    done = [publisher.placed(item) if item.ok else item for item in items]
    publisher.told(stage, len(publisher.kept), TAKE_OURS)
    if folder is out:
        write_manifest(out / rows, done)
    return done


def _listed(source: Path, out: Path, folder: Path) -> list[tuple[Item, Path]]:
    if source.is_file():
        name = out.name if folder is not out else f"{source.stem}{_suffix(source)}"
        if Path(name).suffix.lower() not in (".wav", ".flac"):
            raise AudioRestorerError(f"{out}: outputs are .wav or .flac")
        (item_id,) = unique_ids([source.name]).values()
        return [(Item(id=item_id, noisy=as_text(str(source)), relative=as_text(source.name), output=name), source)]
    paths = audio.recordings(source)
    ids = unique_ids(list(paths))
    outputs = output_names({name: str(Path(name).with_suffix(_suffix(path))) for name, path in paths.items()})
    return [
        (Item(id=ids[name], noisy=as_text(str(path)), relative=as_text(name), output=as_text(outputs[name])), path)
        for name, path in paths.items()
    ]


def _suffix(path: Path) -> str:
    """The suffix of the recording's format, whatever its name says; of a file that cannot be read, by its name."""
    try:
        return LOSSLESS.get(audio.probe(path).format, ".flac")
    except AudioRestorerError:
        return ".wav" if path.suffix.lower() == ".wav" else ".flac"


def _inspected(item: Item, path: Path, command: str) -> Item:
    try:
        info = audio.probe(path)
        if not info.frames:
            raise AudioRestorerError(f"{item.noisy}: empty: no samples")
        return item.updated(
            path=item.noisy, sha256=sha256_file(item.noisy), sr=info.sample_rate, channels=info.channels,
            duration=round(info.duration_sec, 6), notes={"header": info.note} if info.note else None,
        )  # fmt: skip
    except (AudioRestorerError, OSError) as error:
        log.warning("%s: rejected: %s", command, error)
        return item.rejected(f"{command}: {error}")
