"""The program `audiorestorer`. The commands that people type most start without what the others import."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import typer

from audiorestorer.errors import AudioRestorerError, of_the_machine
from audiorestorer.names import as_text, is_text

QUICK = ("run", "doctor", "presets")  # commands of `commands.run`
COMPLETE = "_AUDIORESTORER_COMPLETE"  # set by the shell's completion, and the words so far beside it


def main() -> None:
    """Run a command."""
    words = _words(sys.argv[1:], os.environ)
    if words and words[0] in QUICK:
        guarded(quick_app())
    else:
        from audiorestorer.__main__ import app

        guarded(app)


def quick_app() -> typer.Typer:
    """The commands of `commands.run` alone."""
    from audiorestorer.commands import run

    app = typer.Typer(name="audiorestorer", pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(lambda: None)  # with a single command it would be no group
    app.add_typer(run.app)
    return app


def guarded(app: Callable[[], object]) -> None:
    """Call it. What a user can mend exits with 2 and one message; anything else is a traceback."""
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
        from audiorestorer.installed import of_import

        unknown = of_import(error)
        if unknown is None:
            raise
        _end(unknown)
    except OSError as error:
        told = of_the_machine(error)
        if told is None:
            raise
        _end(told)


def _words(arguments: Sequence[str], environment: Mapping[str, str]) -> Sequence[str]:
    """The command line; while a shell completes one, the words of it that are complete."""
    if COMPLETE not in environment:
        return arguments
    words = environment.get("COMP_WORDS", environment.get("_TYPER_COMPLETE_ARGS", "")).split()
    return words[1:] if len(words) > 2 else []


def _end(error: AudioRestorerError) -> None:
    print(f"audiorestorer: {error}", file=sys.stderr)
    sys.exit(2)
