"""The pages and what they ask for. Every path of a file comes from a batch's own records; a client names batches and numbers only."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from audiorestorer.errors import AudioRestorerError
from audiorestorer.launch.child import PROGRESS
from audiorestorer.names import in_line
from audiorestorer.serving import archive, uploads
from audiorestorer.serving.batches import Batch, Shelf
from audiorestorer.serving.guard import REPORT_POLICY, Guard
from audiorestorer.serving.results import Results
from audiorestorer.serving.runner import Runner, tail
from audiorestorer.serving.sources import Sources

log = logging.getLogger("audiorestorer")

BODY_BYTES = 64_000
NUMBER_DIGITS = 9
STATIC = {
    "app.js": ("serving", "text/javascript"),
    "app.css": ("serving", "text/css"),
    "listening.js": ("report", "text/javascript"),
    "listening.css": ("report", "text/css"),
}
PACKAGE = Path(__file__).parents[1]


@dataclass
class House:
    """What all pages share. `presets` maps names to descriptions."""

    shelf: Shelf
    runner: Runner
    presets: Mapping[str, str]
    sources: Sources
    limits: uploads.Limits
    on_its_way: dict[str, uploads.Receiving] = field(default_factory=dict)

    def shown(self, batch: Batch) -> dict[str, Any]:
        """A batch as the page's script reads it."""
        job = batch.job
        row: dict[str, Any] = {
            "id": batch.id, "title": job.title, "preset": job.preset, "state": job.state, "message": job.message,
            "files": len(batch.uploads), "bytes": batch.bytes, "source": job.source,
        }  # fmt: skip
        if job.state == "running":
            row["progress"] = batch.record(PROGRESS)
        if job.state == "done":
            row["result"] = Results(batch).counts()
        return row

    def listed(self, batch: Batch) -> dict[str, Any]:
        """The same for the list; a batch whose records cannot be written as JSON takes down no other one."""
        try:
            row = self.shown(batch)
            JSONResponse(row)
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            log.warning("%s: its records cannot be shown: %s", batch.id, error)
            return {
                "id": batch.id, "title": in_line(batch.job.title), "preset": in_line(batch.job.preset), "state": batch.job.state,
                "message": "The records of this batch are damaged.", "files": len(batch.uploads), "bytes": batch.bytes,
                "source": None,
            }  # fmt: skip
        return row


@cache
def template(name: str) -> Template:
    """A template of this package, which may include the report's; everything that is put into it is escaped."""
    loaders = [PackageLoader(f"audiorestorer.{package}", "templates") for package in ("serving", "report")]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


def batch_of(request: Request) -> Batch:
    batch = house_of(request).shelf.get(request.path_params["batch"])
    if batch is None:
        raise HTTPException(404, "There is no such batch; it may have been removed.")
    return batch


async def index(request: Request) -> Response:
    house = house_of(request)
    return HTMLResponse(
        template("index.html.j2").render(
            presets=house.presets, folders=house.sources.sentence, size=uploads.shown_size,
            file_limit=house.limits.file_bytes, batch_limit=house.limits.batch_bytes,
        )
    )  # fmt: skip


async def static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404, "There is no such file.")
    package, kind = STATIC[name]
    return FileResponse(PACKAGE / package / "templates" / name, media_type=kind)


async def batches(request: Request) -> Response:
    house = house_of(request)
    rows = await run_in_threadpool(lambda: [house.listed(batch) for batch in reversed(house.shelf.all())])
    return JSONResponse({"batches": rows})


async def new_batch(request: Request) -> Response:
    """Make a batch from JSON: `title`, `preset`, and `source`, a place on this machine, where there are to be no uploads."""
    house = house_of(request)
    asked = await _object(request)
    title, preset, source = (asked.get(name) for name in ("title", "preset", "source"))
    if not isinstance(preset, str) or preset not in house.presets:
        raise HTTPException(422, f"There is no such preset: choose one of {', '.join(house.presets)}.")
    if source is not None:
        source = str(house.sources.checked(str(source)))
    named = in_line(str(title or "").strip()) or (in_line(Path(source).name) if source else "")
    batch = await run_in_threadpool(house.shelf.new, named or "Recordings", preset, source)
    house.runner.news.set()
    return JSONResponse(house.shown(batch), 201)


async def upload(request: Request) -> Response:
    """Take a file: its relative name is the query's `name`, its bytes are the body."""
    house, batch = house_of(request), batch_of(request)
    if batch.job.state != "receiving":
        raise HTTPException(409, "The batch is complete: make a new one.")
    receiving = house.on_its_way.setdefault(batch.id, uploads.Receiving())
    said = request.headers.get("content-length", "")
    length = int(said) if said.isdecimal() else None
    receiving.files += 1
    chunks = request.stream()
    try:
        taken = await uploads.receive(
            batch, receiving, request.query_params.get("name", ""), chunks, length, house.limits
        )
    except uploads.Refused as error:
        if error.status != 408:
            await uploads.drained(chunks)  # a browser shows no answer that comes before its last byte
        raise
    finally:
        receiving.files -= 1
    return JSONResponse({"stored": taken.stored, "size": taken.size}, 201)


async def start(request: Request) -> Response:
    """Let a batch that has its uploads, was stopped or failed wait for its turn."""
    house, batch = house_of(request), batch_of(request)
    with house.shelf.guard:
        if batch.job.state == "receiving":
            receiving = house.on_its_way.pop(batch.id, None)
            if receiving is not None and receiving.files:
                house.on_its_way[batch.id] = receiving
                raise HTTPException(409, "An upload is still on its way.")
            if not batch.uploads:
                raise HTTPException(409, "It has no file.")
        elif batch.job.state not in ("stopped", "failed"):
            raise HTTPException(409, f"It is {batch.job.state}.")
        batch.set("waiting")
    house.runner.news.set()
    return JSONResponse(house.shown(batch))


async def stop(request: Request) -> Response:
    house, batch = house_of(request), batch_of(request)
    with house.shelf.guard:
        if batch.job.state not in ("waiting", "running"):
            raise HTTPException(409, f"It is {batch.job.state}.")
        batch.set("stopped", "", batch.job.pid)
    return JSONResponse(house.shown(batch))


async def remove(request: Request) -> Response:
    house, batch = house_of(request), batch_of(request)
    await run_in_threadpool(house.shelf.remove, batch)
    house.on_its_way.pop(batch.id, None)
    return Response(status_code=204)


async def batch_page(request: Request) -> Response:
    house, batch = house_of(request), batch_of(request)
    guard: Guard = request.scope["guard"]
    results = Results(batch)

    def text() -> str:
        done = batch.job.state == "done"
        return template("batch.html.j2").render(
            batch=batch, source=in_line(batch.job.source or ""),
            preset=house.presets.get(batch.job.preset, batch.job.preset),
            result=results.counts() if done else None, figures=results.figures() if done else [],
            players=results.players() if done else [],
            rows=results.rows() if done else [], more=results.more() if done else 0,
            log=tail(batch.log) if batch.job.state == "failed" else "",
            report=f"/reports/{batch.id}/{guard.report_key(batch.id)}/" if results.has_report() else "",
        )  # fmt: skip

    return HTMLResponse(await run_in_threadpool(text))


async def snippet(request: Request) -> Response:
    """A file of the listening cards: `number` counts the cards, `name` is a version or `spectrogram`."""
    path = await run_in_threadpool(Results(batch_of(request)).snippet, _number(request), request.path_params["name"])
    return _file(path)


async def recording(request: Request) -> Response:
    """A whole recording: `side` is `before` or `after`, `number` counts the rows of the batch's page."""
    path = await run_in_threadpool(Results(batch_of(request)).recording, _number(request), request.path_params["side"])
    return _file(path)


async def download(request: Request) -> Response:
    batch = batch_of(request)
    if batch.job.state != "done":
        raise HTTPException(409, "It is not done yet.")
    try:
        top = uploads.safe_name(batch.job.title.replace("/", "_"))
    except uploads.Refused:  # a title of dots
        top = "restored"
    blocks = archive.zipped(batch.output, top)
    headers = {"content-disposition": _attachment(f"{top}.zip")}
    return StreamingResponse(blocks, media_type="application/zip", headers=headers)


async def report(request: Request) -> Response:
    """A page of the run's report, in a sandbox."""
    batch, guard = batch_of(request), request.scope["guard"]
    if not guard.is_report_key(batch.id, request.path_params["key"]):
        raise HTTPException(404, "There is no such page.")
    path = Results(batch).report_file(request.path_params["name"] or "results.html")
    if path is None:
        raise HTTPException(404, "The run has not written this page.")
    return FileResponse(
        path, headers={"content-security-policy": REPORT_POLICY, "cross-origin-opener-policy": "unsafe-none"}
    )


def _number(request: Request) -> int:
    """The number in an address; more digits than any batch has recordings are no number here."""
    text = request.path_params["number"]
    if not (text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS):
        raise HTTPException(404, "There is no such recording.")
    return int(text)


def _file(path: Path | None) -> Response:
    if path is None:
        raise HTTPException(404, "There is no such recording.")
    return FileResponse(path)


def _attachment(name: str) -> str:
    """The header for a download; RFC 6266."""
    return f"attachment; filename=\"restored.zip\"; filename*=UTF-8''{quote(name)}"


async def _object(request: Request) -> dict[str, Any]:
    """The JSON object of a small body."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise HTTPException(413, "That is too long.")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "That is no JSON.") from error
    if not isinstance(content, dict):
        raise HTTPException(400, "That is no JSON object.")
    return content


async def _refused(request: Request, error: Exception) -> Response:
    status = getattr(error, "status", getattr(error, "status_code", 409))
    message = str(getattr(error, "detail", error))
    if request.headers.get("accept", "").startswith("text/html"):
        return HTMLResponse(template("error.html.j2").render(status=status, message=message), status)
    return PlainTextResponse(message + "\n", status)


async def _broken_off(request: Request, error: Exception) -> Response:
    return PlainTextResponse("The upload broke off.\n", 400)


Handler = Callable[[Request], Awaitable[Response]]
ROUTES: tuple[tuple[str, Handler, str], ...] = (
    ("/", index, "GET"),
    ("/static/{name}", static, "GET"),
    ("/batches.json", batches, "GET"),
    ("/batches", new_batch, "POST"),
    ("/batches/{batch}", batch_page, "GET"),
    ("/batches/{batch}", remove, "DELETE"),
    ("/batches/{batch}/files", upload, "PUT"),
    ("/batches/{batch}/start", start, "POST"),
    ("/batches/{batch}/stop", stop, "POST"),
    ("/batches/{batch}/restored.zip", download, "GET"),
    ("/batches/{batch}/snippets/{number}/{name}", snippet, "GET"),
    ("/batches/{batch}/recordings/{number}/{side}", recording, "GET"),
    ("/reports/{batch}/{key}/{name:path}", report, "GET"),
)


def application(house: House) -> Starlette:
    """The pages; `guard.Guard` must stand before them."""
    app = Starlette(
        routes=[Route(path, handler, methods=[method]) for path, handler, method in ROUTES],
        exception_handlers={
            AudioRestorerError: _refused, HTTPException: _refused, ClientDisconnect: _broken_off, OSError: _no_space,
        },
    )  # fmt: skip
    app.state.house = house
    return app


async def _no_space(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return PlainTextResponse(f"The folder of the batches cannot be written to: {error.strerror}.\n", 507)
