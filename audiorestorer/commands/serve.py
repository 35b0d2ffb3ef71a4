"""The command that shows a web page to drop recordings on."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from audiorestorer.commands.options import commands_of, option

app = typer.Typer()
command = commands_of(app)

command("serve", "serving.server:run")(
    "Show a web page to drop recordings on, on this machine alone: progress, before and after, a zip.",
    host=option(str, "Address to listen at. Any but this machine's own asks for a token.", "127.0.0.1"),
    port=option(int, "Port to listen at; 0 is a free one.", 8400, min=0, max=65535),
    folder=option(Path | None, "Folder of the batches; the user's data folder if left out.", None),
    allow_folder=option(
        list[Path],
        "Folder whose recordings a typed path may name; may be repeated. Without it: any, or none beyond this machine.",
        [],
    ),
    allowed_host=option(
        list[str],
        "Further name by which browsers reach this server, of a proxy say; asks for a token; may be repeated.",
        [],
    ),
    cores=option(int, "CPU cores of a run.", os.cpu_count() or 1, min=1),
    token=option(bool, "Ask for a token on this machine too: for one that several people use.", False),
    max_file=option(str, "The most bytes of an uploaded file.", "4GB"),
    max_batch=option(str, "The most bytes of a batch's uploads.", "20GB"),
)
