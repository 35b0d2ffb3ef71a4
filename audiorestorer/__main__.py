"""The command line. Every stage is one command; a stage's module is imported only when its command runs."""

from __future__ import annotations

import typer

from audiorestorer.commands import ablation, models, render, run, serve, setup, store, training
from audiorestorer.entry import guarded

app = typer.Typer(
    name="audiorestorer",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Restore audio in bulk: `run` restores a folder. The stages of its pipeline are commands, too, and can be run by hand.",
)
FAMILIES = (run, serve, setup, render, training, ablation)
for commands in FAMILIES:
    app.add_typer(commands.app)
app.add_typer(store.app, name="store")
app.add_typer(models.app, name="models")


def command_names() -> set[str]:
    """The names of all commands other than those of `store` and `models`."""
    return {str(command.name) for family in FAMILIES for command in family.app.registered_commands}


def main() -> None:
    """Run a command. What a user can mend exits with 2 and one message; anything else is a traceback."""
    guarded(app)


if __name__ == "__main__":
    main()
