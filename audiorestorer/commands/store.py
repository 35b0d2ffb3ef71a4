"""Commands about the folder of finished items."""

from __future__ import annotations

from pathlib import Path

import typer

from audiorestorer.commands import options as opt
from audiorestorer.commands.options import argument, commands_of, option, stage
from audiorestorer.config import bytes_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.stages.job import STORE

app = typer.Typer(
    no_args_is_help=True, help="Look into the folder of finished items, check that it is whole, and make room in it."
)
command = commands_of(app)


def stats(store: Path) -> None:
    print(stage("batch.store_upkeep").stats(store))


def verify(store: Path) -> None:
    damaged, manifests = stage("batch.store_upkeep").verify(store)
    for line in damaged:
        print(line)
    print(f"store: {len(damaged)} damaged entries, {len(manifests)} manifests to be made again")
    if damaged or manifests:
        print("run the same snakemake command again: it makes what is missing")
        raise typer.Exit(1)


def prune(store: Path, max_size: str, keep_hours: float) -> None:
    try:
        limit = bytes_of(max_size)
    except ValueError as error:
        raise AudioRestorerError(f"--max-size: {error}") from error
    print(stage("batch.store_upkeep").prune(store, limit, keep_hours))


def forget(names: list[str], artifacts: Path, store: Path | None, dry_run: bool) -> None:
    for line in stage("batch.store_forget").run(names, store or artifacts / STORE.name, artifacts, dry_run=dry_run):
        print(f"would: {line}" if dry_run else line)


command("stats", stats)(
    "Show entries and bytes per stage, what the manifests of all runs name, and what killed jobs left.",
    **opt.STORE_ONLY,
)
command("verify", verify)(
    "Hash every file again. Damaged entries are deleted, and the same snakemake command makes them again. Exit code 1: some were.",
    **opt.STORE_ONLY,
)
command("prune", prune)(
    "Delete the entries that were not used for the longest time until the store is small enough; never what a manifest names.",
    max_size=option(str, "Largest size of the store, for example 200GB."),
    **opt.STORE_ONLY,
    keep_hours=option(float, "Entries that were used within so many hours stay.", 24.0, min=0),
)
command("forget", forget)(
    "Remove withdrawn recordings and all that was made of them: entries of all settings, outputs, snippets, pages.",
    names=argument(list[str], "NAME...", "Path below the input folder, or id, as it was exactly."),
    artifacts=option(Path, "Artifacts folder of the run that had the recordings.", STORE.parent),
    store=option(Path | None, "Folder of finished items; `store` in the artifacts if left out.", None),
    dry_run=option(bool, "Say what would be removed, and delete nothing.", False, "--dry-run"),
)
