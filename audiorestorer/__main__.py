"""The command line. Every stage is one command; a stage's module is imported only when its command runs."""

from __future__ import annotations

import logging
import os
import sys

import typer

from audiorestorer.commands import ablation, models, render, setup, store, training
from audiorestorer.errors import AudioRestorerError, of_the_machine
from audiorestorer.installed import of_import
from audiorestorer.names import as_text, is_text

app = typer.Typer(
    name="audiorestorer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Restore audio in bulk. Each command is one stage of the Snakemake pipeline; all can be run by hand.",
)
FAMILIES = (setup, render, training, ablation)
for commands in FAMILIES:
    app.add_typer(commands.app)
app.add_typer(store.app, name="store")
app.add_typer(models.app, name="models")


def command_names() -> set[str]:
    """The names of all commands other than those of `store` and `models`."""
    return {str(command.name) for family in FAMILIES for command in family.app.registered_commands}


def main() -> None:
    """Run a command. What a user can mend exits with 2 and one message; anything else is a traceback."""
    # OpenMP reads it when torch is loaded. Two jobs that spin on the same cores take ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        for word in sys.argv[1:]:
            if not is_text(word):
                raise AudioRestorerError(f"{as_text(word)}: not UTF-8: rename the file or folder")
        app()
    except AudioRestorerError as error:
        _end(error)
    except ModuleNotFoundError as error:
        unknown = of_import(error)
        if unknown is None:
            raise
        _end(unknown)
    except OSError as error:
        told = of_the_machine(error)
        if told is None:
            raise
        _end(told)


def _end(error: AudioRestorerError) -> None:
    print(f"audiorestorer: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
