"""How a command is said once: its name, what it runs, one line on it, and its options, each with type, default and meaning.

What it runs is a stage (`training.export_onnx` is `audiorestorer.stages.training.export_onnx.run`), which is imported only when the
command runs, so that `--help` needs no torch; or a function where there is more to do than to pass the options on. An option may say
that its path is read or written: no command begins that would write over what it reads.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import typer

from audiorestorer.config import Settings, load
from audiorestorer.errors import AudioRestorerError
from audiorestorer.folders import keep_apart, keep_rows_apart
from audiorestorer.manifest import in_range, read_manifests
from audiorestorer.places import shipped
from audiorestorer.stages.job import STORE as DEFAULT_STORE
from audiorestorer.stages.job import Job

READ, WRITTEN = "read", "written"
ROWS = "rows"  # read: a manifest, or several of them; what its rows come from is spared too
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Parameter(NamedTuple):
    """An option or argument of a command.

    Attributes:
        kind: its type.
        info: what `typer.Option` or `typer.Argument` gave.
        default: `...` where it must be given.
        label: its name in messages; None: `--` and the parameter's name.
        role: whether its path is read or written (`READ`, `WRITTEN`, `ROWS`).
        section: the settings that its text is read as.
    """

    kind: Any
    info: Any
    default: Any = ...
    label: str | None = None
    role: str | None = None
    section: type[Settings] | None = None


def option(
    kind: Any, text: str | None, default: Any = ..., *flags: str, role: str | None = None, **more: Any
) -> Parameter:
    """An option; its flag is the parameter's name where none is given."""
    return Parameter(kind, typer.Option(*flags, help=text, **more), default, flags[0] if flags else None, role)


def argument(kind: Any, name: str, text: str | None = None, default: Any = ..., role: str | None = None) -> Parameter:
    """An argument; `name` is how `--help` and messages call it."""
    return Parameter(kind, typer.Argument(metavar=name, help=text), default, name, role)


def section(
    settings: type[Settings], text: str = "The stage's section: a YAML file, or inline JSON.", default: Any = ...
) -> Parameter:
    """`--config`: what runs gets the checked settings."""
    return option(str, text, default, metavar="CONFIG")._replace(section=settings)


def section_options(settings: type[Settings], flags: Mapping[str, str]) -> dict[str, Parameter]:
    """Options for fields of a settings section: type, default, bounds and meaning are the field's own.

    The section checks the values, so that a wrong one is answered as in a configuration file.
    """
    options = {}
    for name, flag in flags.items():
        field = settings.model_fields[name]
        kind: Any = field.annotation
        rules = [
            (words, getattr(rule, key))
            for rule in field.metadata
            for key, words in BOUNDS.items()
            if hasattr(rule, key)
        ]
        bounds = f" ({', '.join(f'{words} {value:g}' for words, value in rules)})" if rules else ""
        more = {}
        if get_origin(kind) is Literal:
            kind, more["metavar"] = str, "|".join(get_args(kind))
        options[name] = option(kind, f"{field.description or ''}{bounds}", field.default, flag, **more)
    return options


IN_MANIFEST = argument(Path, "IN_MANIFEST", "JSONL rows of the stage before.", role=ROWS)
OUT_MANIFEST = argument(Path, "OUT_MANIFEST", "JSONL rows that this stage writes.", role=WRITTEN)
SOURCE = argument(Path, "IN", "A recording, or a folder of recordings.")
TARGET = argument(Path, "OUT", "Output folder; for a single recording, also the .wav or .flac file to write.")
MANIFESTS = argument(list[Path], "MANIFESTS...", "Manifests of a stage; [0-7].jsonl stands for eight.", role=ROWS)
MODEL = option(Path | None, "Record of the model: the JSON file that fetch-model wrote.", None, "--model")
RECOGNISER = option(Path | None, "Record of the recogniser: the JSON file that fetch-model wrote.", None)
REGISTRY = option(Path, "The model registry.", shipped("config/models.yaml"))
MODELS_DIR = option(Path, "Folder of downloaded models.", Path("artifacts/models"), "--models-dir")
CHECKPOINT = option(Path, "The safetensors file that train wrote.", role=READ)
OVERLAP = option(int | None, "n_fft / hop of the STFT in which the mask is applied.", None, min=2)
FLOOR_DB = option(float | None, "Lowest value of the mask, in dB.", None, max=0)
FIGURE = option(Path | None, "PNG file to write.", None, role=WRITTEN)
STORE = option(Path, "Folder of finished items.", DEFAULT_STORE)
DEVICE = option(str, "auto, cpu, cuda or cuda:N.", "auto")
THREADS = option(int, "Threads that this job uses.", 1, min=1)
JOB = {"store": STORE, "device": DEVICE, "threads": THREADS}
STORE_ONLY = {"store": STORE}


def stage(name: str) -> Any:
    """A stage's module."""
    return import_module(f"audiorestorer.stages.{name}")


def _function(name: str) -> Any:
    """The function of a module (`datasets.generated:make`), or a stage's (`training.export_onnx`)."""
    module, _, function = name.partition(":")
    return getattr(import_module(f"audiorestorer.{module}"), function) if function else stage(name).run


def json_object(text: str | None, where: str) -> dict[str, Any]:
    """The object that an option holds as JSON; none is an empty one.

    Raises:
        AudioRestorerError: not JSON, or no object.
    """
    try:
        content = json.loads(text) if text else {}
    except ValueError as error:
        raise AudioRestorerError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise AudioRestorerError(f"{where}: not a JSON object")
    return content


def spare_originals(
    manifests: list[Path], written: Mapping[str, Any], store: Path | None = None, read: Mapping[str, Any] | None = None
) -> None:
    """Refuse to write over the manifests, over the recordings that their rows came from, or over what else is read."""
    keep_apart({**{f"IN_MANIFEST {path}": path for path in manifests}, **(read or {})}, written)
    if manifests:
        keep_rows_apart(read_manifests(manifests), {**written, "--store": store}, store)


def _spare(options: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    """`spare_originals` by the options' roles."""
    places: dict[str, dict[str, Any]] = {READ: {}, WRITTEN: {}, ROWS: {}}
    for key, each in options.items():
        if each.role is not None:
            label, value = each.label or f"--{key.replace('_', '-')}", values[key]
            several = {f"{label} {path}": path for path in value} if isinstance(value, list) else {label: value}
            places[each.role] |= several
    spare_originals(list(places[ROWS].values()), places[WRITTEN], values.get("store"), places[READ])


def commands_of(app: typer.Typer, panel: str | None = None) -> Callable[..., Callable[..., None]]:
    """What adds commands to a list of them, under a heading of its `--help`: `command(name, run)(text, option=..., ...)`."""
    return lambda name, run: partial(_add, app, panel, name, run)


def _add(
    app: typer.Typer,
    panel: str | None,
    name: str,
    run: str | Callable[..., None],
    text: str,
    /,
    *,
    job: Mapping[str, Parameter] | None = None,
    prepare: Callable[[], None] | None = None,
    **options: Parameter,
) -> None:
    """Add a command.

    Args:
        run: a stage, another module's function, or a function; all are called with the options by their names.
        text: what the command does, in one line.
        job: options that become one argument of that name.
        prepare: called first, and so before anything imports torch.
    """
    every = {**options, **(job or {})}

    def command(**values: Any) -> None:
        if prepare is not None:
            prepare()
        for key, each in options.items():
            if each.section is not None:
                values[key] = load(each.section, values[key])
            elif each.role == ROWS and isinstance(values[key], list):
                values[key] = in_range(values[key])
        _spare(every, values)
        if job is not None:
            values["job"] = Job(**{key: values.pop(key) for key in job})
        (_function(run) if isinstance(run, str) else run)(**values)

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[each.kind, each.info], default=each.default
            )
            for key, each in every.items()
        ]
    )
    app.command(name, help=text, rich_help_panel=panel)(command)
