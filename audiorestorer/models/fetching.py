"""Models of the registry made ready: their files fetched or found, checked, and noted in a record. No torch import.

`fetch` makes `artifacts/models/<name>.json`; stages read only that. Downloads go to a temporary name, are bounded in size, checked
against the registry's hash, then renamed. A file that already lies in `artifacts/models/<name>/` is used, and so is one in a folder
that somebody filled (`models fetch --models-dir`) and that a whole cluster can share: copying files serves a machine with no network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import replacing, write_text_atomic
from audiorestorer.installed import absent
from audiorestorer.models import download
from audiorestorer.models.registry import NO_FILES, PACKAGE, EntrySettings, FileSettings, Registry, load, local_files
from audiorestorer.store import sha256_file

MAX_BYTES = 4_000_000_000
HUB = "huggingface.co"

log = logging.getLogger("audiorestorer")


def has_its_size(path: Path, wanted: FileSettings) -> bool:
    """Whether a file is about as large as the registry says, where it says so of one of a megabyte or more."""
    size = path.stat().st_size / 1e6
    return wanted.size_mb is None or wanted.size_mb < 1 or wanted.size_mb / 2 <= size <= wanted.size_mb * 2


def _check(path: Path, wanted: FileSettings | None, mend: str) -> str:
    """The full SHA-256 of a file.

    Raises:
        AudioRestorerError: its size or hash is not the one of the registry.
    """
    if wanted and not has_its_size(path, wanted):
        size = path.stat().st_size / 1e6
        raise AudioRestorerError(f"{path}: is {size:.3g} MB, the registry says about {wanted.size_mb:g} MB: {mend}")
    actual = sha256_file(path)
    if wanted and wanted.sha256 and not actual.startswith(wanted.sha256):
        raise AudioRestorerError(f"{path}: sha256 is {actual}, the registry says {wanted.sha256}: {mend}")
    if wanted and wanted.md5:
        with open(path, "rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if md5 != wanted.md5:
            raise AudioRestorerError(f"{path}: md5 is {md5}, the registry says {wanted.md5}: {mend}")
    return actual


def missing(name: str, registry: Registry, folders: Iterable[str | Path]) -> list[FileSettings]:
    """The files of a model that have to be fetched: in none of the folders of models is one of theirs."""
    entry = registry.get(name)
    wanted = entry.files if entry.remote else []
    return [file for file in wanted if not any((Path(folder) / name / file.name).is_file() for folder in folders)]


def present(name: str, registry: Registry, folders: Iterable[str | Path]) -> bool:
    """Whether all files of a model are on this machine."""
    entry = registry.get(name)
    if entry.remote:
        return not missing(name, registry, folders)
    return all(path.is_file() for path in local_files(registry.local(name), entry))


def check_reachable(
    wanted: Mapping[str, Sequence[str]], registry: Registry, folder: str | Path, shared: str | Path | None = None
) -> None:  # fmt: skip
    """Before a run: whether the files that it has to fetch can be fetched. What cannot be is said once, whole, and at once.

    Args:
        wanted: model -> names of its files. folder: where they would be put. shared: where they were looked for as well.

    Raises:
        AudioRestorerError: a file whose hosts none answers: every such file with size, hash and folder, and the command that fetches
            them elsewhere.
    """
    rows = [
        (name, registry.get(name), file)
        for name in sorted(wanted)
        for file in registry.get(name).files
        if file.name in wanted[name]
    ]
    hosts = {(name, file.name): _hosts(entry, file) for name, entry, file in rows}
    silent = download.unreachable({host for names in hosts.values() for host in names})
    lost = [
        (name, entry, file)
        for name, entry, file in rows
        if all(host in silent for host in hosts[name, file.name]) and not _in_hub_cache(entry, file)
    ]
    if not lost:
        return
    models = list(dict.fromkeys(name for name, *_ in lost))
    lines = [
        f"  {Path(folder) / name / file.name} ({_size_and_hash(file)}; {_address(entry, file)})"
        for name, entry, file in lost
    ]
    reasons = "; ".join(f"{host}: {reason:.120}" for host, reason in sorted(silent.items()))
    looked = f" They are not in models_dir, {shared}, either (it holds NAME/FILE)." if shared else ""
    raise AudioRestorerError(
        f"{len(lost)} file{'s' * (len(lost) > 1)} of {', '.join(models)} missing, and cannot be fetched from here ({reasons}):\n"
        + "\n".join(lines)
        + f"\nWhere there is a network: python -m audiorestorer models fetch {' '.join(models)} --models-dir FOLDER ; bring FOLDER"
        f" here and set models_dir to it, or put the files where the lines above say.{looked}"
    )


def check_model_reachable(name: str, registry: Registry, folder: str | Path) -> None:
    """As `check_reachable`, for what one model lacks in a folder of models."""
    check_reachable({name: [file.name for file in missing(name, registry, [folder])]}, registry, folder)


def _on_hub(entry: EntrySettings, file: FileSettings) -> bool:
    """Whether a file is one of demucs' on the Hugging Face hub, which the hub's client fetches."""
    return entry.source.startswith("hf:") and not file.url


def _hosts(entry: EntrySettings, file: FileSettings) -> list[str]:
    if _on_hub(entry, file):
        return [urllib.parse.urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc or HUB]
    return [urllib.parse.urlsplit(url).netloc or url for url in addresses(entry, file)]


def _address(entry: EntrySettings, file: FileSettings) -> str:
    """Where a file lies, for people."""
    return f"{entry.source}, which demucs knows" if _on_hub(entry, file) else addresses(entry, file)[0]


def _in_hub_cache(entry: EntrySettings, file: FileSettings) -> bool:
    """Whether the hub's client has fetched the file before, for this or another program."""
    if not _on_hub(entry, file) or absent(["huggingface_hub", "demucs"]):
        return False
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(_hub_repository(entry), file.name), str)


def fetch(
    name: str, registry: str | Path, out_json: str | Path, cache_dir: str | Path, shared_dir: str | Path | None = None
) -> dict[str, Any]:  # fmt: skip
    """Make a model ready and write `out_json` (atomically).

    Args:
        cache_dir: folder that what is fetched goes to. shared_dir: one that is only read: `<name>/<file>` in it is used where it lies.

    Returns:
        The record: name, kind, task, source, files (path, sha256), digest, licence, commercial, sample_rate, trust, network.

    Raises:
        AudioRestorerError: no such entry; a local file is missing or has another hash; a download failed (names the file, its size,
            its hash and the folder to put it in).
    """
    loaded = load(registry)
    entry = loaded.get(name)
    shared = None if shared_dir is None else Path(shared_dir) / name
    files = _fetched(name, entry, Path(cache_dir) / name, shared) if entry.remote else _present(loaded, name, entry)
    record: dict[str, Any] = {
        "name": name,
        "kind": entry.kind,
        "task": entry.task,
        "source": entry.source,
        "files": [{"path": str(path), "sha256": sha256} for path, sha256 in files],
        "digest": _digest([sha256 for _, sha256 in files], entry.network),
        "licence": entry.licence,
        "commercial": entry.commercial,
        "sample_rate": entry.sample_rate,
        "trust": entry.trust,
        "network": entry.network,
    }
    write_text_atomic(out_json, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record


def _digest(hashes: Sequence[str], network: Mapping[str, Any] | None) -> str:
    """Of all that a model's output depends on: its files, and the sizes that the registry says."""
    said = "" if network is None else json.dumps(network, sort_keys=True)
    return hashlib.sha256(("".join(sorted(hashes)) + said).encode()).hexdigest()


def _present(registry: Registry, name: str, entry: EntrySettings) -> list[tuple[Path, str]]:
    place = registry.local(name)
    hashes = {file.name: file for file in entry.files}
    paths = local_files(place, entry)
    if not paths and entry.source != NO_FILES:
        raise AudioRestorerError(f"model {name}: {place}: no model files in this folder")
    for path in paths:
        if not path.is_file():
            raise AudioRestorerError(f"model {name}: {path}: no such file; the registry's `source` is {entry.source!r}")
    return [(path, _check(path, hashes.get(path.name), "it is damaged or another file")) for path in paths]


def _fetched(name: str, entry: EntrySettings, folder: Path, shared: Path | None = None) -> list[tuple[Path, str]]:
    files = []
    for file in entry.files:
        path = folder / file.name
        if shared is not None and not path.is_file() and (there := shared / file.name).is_file():
            files.append((there, _check(there, _known(shared, file), "put the whole file there")))
        else:
            files.append(fetch_file(name, entry, file, path))
    return files


def fetch_file(
    name: str, entry: EntrySettings, file: FileSettings, path: Path, progress: download.Progress | None = None
) -> tuple[Path, str]:  # fmt: skip
    """A remote file, downloaded unless it is there, and its SHA-256. One that is damaged (cut, say) is named and fetched again; the
    damaged one stays until then.

    Args:
        progress: told the bytes so far and those in all (None: the server does not say).

    Raises:
        AudioRestorerError: the download failed (what to put where).
    """
    damage = ""
    if path.is_file():
        try:
            return path, _check(path, _known(path.parent, file), "fetching it again")
        except AudioRestorerError as error:
            log.warning("model %s: %s", name, error)
            damage = f"; the one in {path.parent} is damaged"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _download(entry, file, path, progress)
        sha256 = _check(path, file, "the download is damaged")
    except Exception as error:  # the hub's client raises its own and its transport's errors
        raise AudioRestorerError(_by_hand(name, entry, file, path.parent, error) + damage) from error
    if len(file.sha256 or "") < 64:
        write_text_atomic(path.with_name(f".{path.name}.sha256"), sha256 + "\n")
    return path, sha256


def _known(folder: Path, file: FileSettings) -> FileSettings:
    """The file's entry; where the registry lacks the full hash, with the hash of the file that was fetched first."""
    try:
        sha256 = (folder / f".{file.name}.sha256").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return file
    known = len(sha256) == 64 and sha256.startswith(file.sha256 or "")
    return file.model_copy(update={"sha256": sha256}) if known else file


def _by_hand(name: str, entry: EntrySettings, file: FileSettings, folder: Path, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    source = (
        f"{file.url}, nor is it in an installed {entry.source}" if entry.source.startswith(PACKAGE) else entry.source
    )
    return (
        f"model {name}: {file.name} could not be fetched from {source} ({reason:.400}). With no network, put the file"
        f" {file.name} ({_size_and_hash(file)}) into {folder}/ ; it is used from there. Licence: {entry.licence}."
    )


def _size_and_hash(file: FileSettings) -> str:
    size = f"about {file.size_mb:g} MB" if file.size_mb else "size unknown"
    sha256 = f"sha256 {file.sha256}{'' if len(file.sha256) == 64 else '...'}" if file.sha256 else "sha256 unknown"
    return f"{size}, {f'md5 {file.md5}' if file.md5 and not file.sha256 else sha256}"


def addresses(entry: EntrySettings, file: FileSettings) -> list[str]:
    """Where a file of an entry lies, its mirrors last."""
    return [file.url or f"{entry.source.rstrip('/')}/{urllib.parse.quote(file.name)}", *file.mirrors]


def _download(entry: EntrySettings, file: FileSettings, path: Path, progress: download.Progress | None) -> None:
    limit = int(min(MAX_BYTES, 2e6 * file.size_mb if file.size_mb else MAX_BYTES))
    if _on_hub(entry, file):
        _from_hub(entry, file, path, limit)
        return
    resume = file.sha256 is not None or file.md5 is not None
    problems = []

    def check(part: Path) -> str:
        return _check(part, file, "the download is damaged")

    for url in addresses(entry, file):
        try:
            download.fetch(url, path, limit, check, resume=resume, progress=progress)
            return
        except (AudioRestorerError, OSError) as error:
            problems.append(f"{urllib.parse.urlsplit(url).hostname}: {error}")
    raise AudioRestorerError("; ".join(dict.fromkeys(problems)))


def _hub_repository(entry: EntrySettings) -> str:
    """The name of one of demucs' repositories on the Hugging Face hub, by demucs' own rule."""
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name

    namespace, _, model = entry.source.removeprefix("hf:").rpartition("/")
    return f"{namespace or DEFAULT_NAMESPACE}/{hf_repo_name(model)}"


def _from_hub(entry: EntrySettings, file: FileSettings, path: Path, limit: int) -> None:
    """The hub's client resumes and verifies, and has a progress bar of its own."""
    from huggingface_hub import constants, hf_hub_download

    if not constants.ENDPOINT.startswith("https://"):
        raise AudioRestorerError(f"HF_ENDPOINT is {constants.ENDPOINT}: only https:// is downloaded")
    if not _in_hub_cache(entry, file) and (silent := download.unreachable(_hosts(entry, file))):
        # its client would ask six times, with a page of text
        raise AudioRestorerError("; ".join(f"{host}: {reason}" for host, reason in silent.items()))
    cached = hf_hub_download(_hub_repository(entry), file.name)
    if os.path.getsize(cached) > limit:
        raise AudioRestorerError(f"larger than {limit / 1e6:.0f} MB")
    with replacing(path) as temporary:
        shutil.copyfile(cached, temporary)
        _check(temporary, file, "the download is damaged")
