"""The server: its socket, its queue, its end."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import signal
import socket
from pathlib import Path

import uvicorn

from audiorestorer.config import bytes_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.presets import presets
from audiorestorer.serving.batches import Shelf
from audiorestorer.serving.guard import Guard, is_loopback
from audiorestorer.serving.pages import House, application
from audiorestorer.serving.runner import Runner, run_command
from audiorestorer.serving.sources import Sources
from audiorestorer.serving.uploads import Limits

END_SEC = 3  # open downloads get so long when the server is ended


def default_folder() -> Path:
    """Where the batches lie: the user's data folder (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "audiorestorer"


def bound(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        AudioRestorerError: the port is in use, or the address is none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AudioRestorerError(f"--port {port}: in use on {host}: choose another, or 0 for a free one") from error
        raise AudioRestorerError(f"--host {host} --port {port}: {error.strerror}") from error


def run(
    host: str,
    port: int,
    folder: Path | None,
    allow_folder: list[Path],
    allowed_host: list[str],
    cores: int,
    max_file: str,
    max_batch: str,
    token: bool,
) -> None:
    """Serve until Ctrl-C or SIGTERM. Prints the address once.

    Raises:
        AudioRestorerError: a port in use, a folder that cannot be written to, or a limit that is no size.
    """
    limits = Limits(_size("--max-file", max_file), _size("--max-batch", max_batch))
    for each in allow_folder:
        if not each.is_dir():
            raise AudioRestorerError(f"--allow-folder {each}: no such folder")
    loopback = is_loopback(host)
    private = loopback and not allowed_host  # a further name is that of a proxy, which lets others in
    listener = bound(host, port)
    shelf = Shelf(folder or default_folder())
    runner = Runner(shelf, run_command(cores))
    sources = Sources(private, tuple(each.resolve() for each in allow_folder))
    house = House(shelf, runner, {preset.name: preset.description for preset in presets()}, sources, limits)
    key = secrets.token_urlsafe(32) if token or not private else None
    number = listener.getsockname()[1]
    app = Guard(
        application(house), loopback=loopback, names=(*allowed_host, *([] if loopback else [host])), token=key,
        cookie=f"audiorestorer-{number}",
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", proxy_headers=False,
            timeout_graceful_shutdown=END_SEC,
        )
    )  # fmt: skip
    shown = f"[{host}]" if ":" in host else host
    print(f"Open http://{shown}:{number}/{f'?token={key}' if key else ''}", flush=True)
    print("Ctrl-C ends the server; a batch that is running then goes on with the next one.", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, lambda *_: None
        )  # uvicorn ends, then raises the signal again: the queue is to be ended too
    runner.start()
    try:
        server.run(sockets=[listener])
    finally:
        runner.end()
        shelf.close()
        listener.close()


def _size(flag: str, text: str) -> int:
    try:
        return int(bytes_of(text))
    except ValueError as error:
        raise AudioRestorerError(f"{flag} {text}: not a size, e.g. 4GB") from error
