"""Commands about the models of the registry: which there are, fetching them, and converting a checkpoint that is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from audiorestorer.commands import options as opt
from audiorestorer.commands.options import READ, WRITTEN, argument, commands_of, option
from audiorestorer.errors import AudioRestorerError
from audiorestorer.licences import WORDS
from audiorestorer.models import fetching, registry
from audiorestorer.places import shipped

app = typer.Typer(no_args_is_help=True, help="List the models of the registry, fetch them, and convert a checkpoint.")
command = commands_of(app)


def place(name: str, known: registry.Registry, folder: Path) -> str:
    """Where a model is, in words."""
    entry = known.get(name)
    if entry.remote:
        missing = fetching.missing(name, known, [folder])
        if not missing:
            return _whole(name, known, folder) or f"in {folder / name}"
        size = sum(file.size_mb or 0 for file in missing)
        known_size = f", {size:g} MB" if all(file.size_mb for file in missing) else ""
        return f"to be fetched ({len(missing)} file{'s' * (len(missing) > 1)}{known_size})"
    if entry.source == registry.NO_FILES:
        return "needs no files"
    if entry.package:
        return f"in the package {entry.package}"
    return "here" if fetching.present(name, known, [folder]) else f"missing: {known.local(name)}"


def _whole(name: str, known: registry.Registry, folder: Path) -> str:
    """What is wrong with a model's files by their sizes; empty where nothing is. Their hashes are checked before they are used."""
    for file in known.get(name).files:
        path = folder / name / file.name
        if not fetching.has_its_size(path, file):
            return f"damaged: {path} has {path.stat().st_size / 1e6:.3g} MB of about {file.size_mb:g}"
    return ""


def size_mb(name: str, known: registry.Registry) -> float | None:
    """Of all files of a model; None: not known."""
    entry = known.get(name)
    if entry.package or entry.remote:
        sizes = [
            file.size_mb for file in entry.files if Path(file.name).suffix not in (".yaml", ".json", ".csv", ".txt")
        ]
        return round(sum(size or 0 for size in sizes), 1) if sizes and all(sizes) else None
    paths = registry.local_files(known.local(name), entry)
    return round(sum(path.stat().st_size for path in paths if path.is_file()) / 1e6, 1)


def list_models(file: Path, folder: Path, task: str | None, as_json: bool) -> None:
    known = registry.load(file)
    if task is not None and task not in registry.VERBS:
        raise AudioRestorerError(f"--task: {task!r} is not one of {', '.join(registry.VERBS)}")
    rows = [
        {
            "name": name, "task": entry.task, "kind": entry.kind, "size_mb": size_mb(name, known), "where": place(name, known, folder),
            "licence": entry.licence, "commercial": entry.commercial_use, "score": entry.score, "url": entry.url, "notes": entry.notes,
        }
        for name, entry in known.models.items()
        if task in (None, entry.task)
    ]  # fmt: skip
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        size = f"{row['size_mb']:g} MB" if row["size_mb"] is not None else "size unknown"
        print(f"{row['name']}: {registry.VERBS[str(row['task'])]}; kind {row['kind']}; {size}; {row['where']}")
        use = known.get(str(row["name"])).commercial_use
        print(f"    licence: {row['licence']}" + (f"; {WORDS[use]}" if use else ""))
        for title, key in (("published", "score"), ("note", "notes")):
            if row[key]:
                print(f"    {title}: {row[key]}")
    print('\nTry one: snakemake --cores 2 --config \'separators=[{"name": "mine", "model": "NAME"}]\'')


def fetch_models(names: list[str], file: Path, folder: Path) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    known = registry.load(file)
    for name in names:  # one that is none ends this before the first byte
        known.get(name)
    failed = []
    what, rest = TextColumn("{task.description}"), (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(what, BarColumn(), *rest, disable=not sys.stderr.isatty()) as bars:
        for name in dict.fromkeys(names):
            failed += _fetch(name, known, folder, bars)
    if failed:
        raise AudioRestorerError("\n".join(failed))


def _fetch(name: str, known: registry.Registry, folder: Path, bars: Any) -> list[str]:
    """Fetch the files of a model; returns what went wrong."""
    entry, failed = known.get(name), []
    if not entry.remote:
        where = place(name, known, folder)
        if not fetching.present(name, known, [folder]):
            return [f"model {name}: {where}"]
        print(f"{name}: {where}")
        return []
    try:
        fetching.check_model_reachable(name, known, folder)
    except AudioRestorerError as error:
        return [str(error)]
    for file in entry.files:
        path = folder / name / file.name
        bar = bars.add_task(f"{name}/{file.name}", total=int(file.size_mb * 1e6) if file.size_mb else None)

        def show(done: int, whole: int | None, bar: Any = bar) -> None:
            bars.update(bar, completed=done, total=whole)

        try:
            fetching.fetch_file(name, entry, file, path, show)
            print(f"{name}: {path}")
        except AudioRestorerError as error:
            failed.append(str(error))
        except OSError as error:
            failed.append(f"{path}: cannot be written: {error.strerror}")
        bars.remove_task(bar)
    return failed


def convert(checkpoint: Path, out: Path) -> None:
    from audiorestorer.models import conversion

    print(conversion.convert(checkpoint, out))


command("list", list_models)(
    "List the registry's models: task, size, where each is, its licence and its published quality.",
    file=option(Path, "The model registry.", shipped("config/models.yaml"), "--registry"),
    folder=opt.MODELS_DIR,
    task=option(str | None, f"Only the models of this task: {', '.join(registry.VERBS)}.", None),
    as_json=option(bool, "Print JSON.", False, "--json"),
)
command("fetch", fetch_models)(
    "Fetch models: each file with a progress bar, gone on with where it broke off, and checked. The folder serves as models_dir.",
    names=argument(list[str], "NAME...", "Entries of the registry."),
    file=option(Path, "The model registry.", shipped("config/models.yaml"), "--registry"),
    folder=opt.MODELS_DIR,
)
command("convert", convert)(
    "Write a checkpoint's weights as safetensors: for a pickle that names more than tensors. Nothing of it is run or imported.",
    checkpoint=argument(Path, "CHECKPOINT", "What torch.save wrote: a training's checkpoint, for example.", role=READ),
    out=argument(Path, "OUT", "The .safetensors file to write.", role=WRITTEN),
)
