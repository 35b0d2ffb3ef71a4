"""`run`: a folder of recordings in, the restored ones out. Imports next to nothing: its `--help` must be quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


def preset_names(incomplete: str) -> list[tuple[str, str]]:
    """For the shell's completion: the presets and what they are for."""
    from audiorestorer.presets import presets

    return [(each.name, each.description) for each in presets() if each.name.startswith(incomplete)]


def setting_names(incomplete: str) -> list[str]:
    """For the shell's completion: the configuration's keys with a dot before each level, `denoise.wet=`."""
    from audiorestorer.config import Config

    names = []
    for name, value in Config():
        inner = [f"{name}.{key}=" for key, _ in value] if hasattr(value, "model_fields") else [f"{name}="]
        names += [key for key in inner if key.startswith(incomplete)]
    return names


@app.command("run")
def run(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A folder of recordings, a zip archive, or one recording.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The folder for the results; it mirrors IN.")],
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The kind of recordings; `audiorestorer presets` lists the names.",
            autocompletion=preset_names,
        ),
    ] = "speech_over_music",
    full: Annotated[bool, typer.Option("--full", help="The same as --preset full: the released models.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One setting, as denoise.wet=0.5; repeatable.",
            autocompletion=setting_names,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A YAML file of settings that differ from the preset's.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of clean recordings with the same names as in IN.")
    ] = None,
    transcripts: Annotated[
        Path | None, typer.Option(metavar="TSV", help="Table with the columns path and transcript.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the report goes. (default: OUT/report.html)")
    ] = None,
    cores: Annotated[int | None, typer.Option(metavar="N", min=1, help="CPU cores to use. (default: all)")] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Run the networks on a GPU; an error where there is none.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a file was rejected.")] = False,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for logs and finished items. (default: OUT/.audiorestorer)"),
    ] = None,
) -> None:
    """Restore a folder of recordings. A second run does nothing, and a killed one goes on.

    Exit codes: 0 done, 1 files were rejected (with --strict), 2 wrong usage, 3 some jobs failed.
    """
    from audiorestorer import presets
    from audiorestorer.errors import AudioRestorerError
    from audiorestorer.launch import batch
    from audiorestorer.launch.plan import Request

    if full and preset not in (presets.DEFAULT, "full"):
        raise AudioRestorerError(f"--full is --preset full; --preset says {preset}")
    request = Request(
        source, output, "full" if full else preset, config, settings or [], reference, transcripts, report, work, cores, gpu, strict
    )  # fmt: skip
    sys.exit(batch.run(request))


@app.command("presets")
def presets() -> None:
    """List the presets of `run`, and what each is for."""
    from audiorestorer import presets as module

    for each in module.presets():
        print(f"{each.name:<18} {each.description}")


@app.command("doctor")
def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="[OUT]", help="Where results would go, for the free space.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what is here (packages, CPU, GPU, models, disk) and what is missing for which feature. Exits with 1 if `run` cannot work."""
    from audiorestorer import doctor as module

    sys.exit(module.run(folder, json_wanted=as_json))
