"""What a run of `audiorestorer run` will do: its folders and its configuration, checked before anything is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiorestorer import devices, installed, presets
from audiorestorer.checking import read_yaml, validate, yaml_value
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError, of_the_machine
from audiorestorer.folders import keep_apart, keep_run_apart, place_for
from audiorestorer.intake import listing, pairs
from audiorestorer.names import as_text

WORK = ".audiorestorer"
REPORT = "report.html"
ARTIFACTS = "artifacts"  # below the run's folder, which is the workflow's working folder
OF_ARGUMENTS = {"input": "IN", "output": "OUT", "artifacts": "--work", "strict": "--strict"}
PATHS = ("store", "models_dir", "registry", "references", "transcripts", "evaluate.sentences")


@dataclass(frozen=True)
class Plan:
    """A checked run.

    Attributes:
        work: the folder of everything that is no result: configuration, logs, finished items.
        report: the report's file. config: what the workflow is started with.
    """

    source: Path
    output: Path
    work: Path
    report: Path
    config: dict[str, Any]
    cores: int | None
    strict: bool


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    source: Path
    output: Path
    preset: str = presets.DEFAULT
    config: Path | None = None
    settings: Sequence[str] = ()
    references: Path | None = None
    transcripts: Path | None = None
    report: Path | None = None
    work: Path | None = None
    cores: int | None = None
    gpu: bool = False
    strict: bool = False


def plan(request: Request) -> Plan:
    """Check what is asked for. Nothing is written.

    Raises:
        AudioRestorerError: one line: no such input, nothing in it, an unknown preset, key or value, folders that overlap or cannot be
            made.
        OSError: the machine refused (no right).
    """
    try:
        return _checked(request)
    except OSError as error:  # the only files here are those that the command line names
        if of_the_machine(error):
            raise
        raise AudioRestorerError(f"{as_text(str(error.filename or request.source))}: {error.strerror}") from error


def _checked(request: Request) -> Plan:
    source, output = _absolute(request.source), _absolute(request.output)
    if not source.exists():
        raise AudioRestorerError(f"IN: {request.source}: no such file or folder")
    if output.exists() and not output.is_dir():
        raise AudioRestorerError(f"OUT: {request.output}: is a file; OUT is the folder that the results go to")
    work = _absolute(request.work) if request.work else output / WORK
    report = _absolute(request.report) if request.report else output / REPORT
    values = _values(request)
    values |= {"input": str(source), "output": str(output)}
    values |= {"references": str(_absolute(request.references))} if request.references else {}
    values |= {"transcripts": str(_absolute(request.transcripts))} if request.transcripts else {}
    if request.gpu:
        values["device"] = "cuda"
        installed.check(["torch"], "--gpu", installed.how("setup-models", "models"))
        if not devices.may_have_gpu():
            raise AudioRestorerError("--gpu: this machine shows no GPU; leave --gpu out to use the CPU")
    strict = bool(values.pop("strict", False)) or request.strict
    checked = validate(Config, values, "run")
    written = {"OUT": output, "--work": work, "--report": report.parent}
    for name, folder in (written | ({"store": Path(checked.store)} if checked.store else {})).items():
        place_for(name, folder)
    companions = pairs.companions(checked)
    keep_run_apart(checked.model_copy(update={"artifacts": str(work / ARTIFACTS)}), *companions)
    keep_apart({"IN": source, "--reference": companions[0], "--transcripts": companions[1]}, {"--report": report})
    if report.is_dir():
        raise AudioRestorerError(f"--report: {report}: is a folder; give the file to write")
    listing.scanned(checked)
    values["artifacts"] = ARTIFACTS
    return Plan(source, output, work, report, values, request.cores, strict)


def _absolute(path: Path) -> Path:
    """Without following links: results and records keep the names that a user gave."""
    return Path(os.path.abspath(path.expanduser()))


def _values(request: Request) -> dict[str, Any]:
    """The preset's, the file's and the options' settings, each checked by itself, so that a message names its origin."""
    values: dict[str, Any] = {}
    sources: list[tuple[str, dict[str, Any]]] = []
    chosen = presets.preset(request.preset)
    sources.append((f"preset {chosen.name}", _from_file(chosen.path)))
    if request.config is not None:
        sources.append((str(request.config), _from_file(request.config)))
    sources += [(f"--set {text}", _from_option(text)) for text in request.settings]
    for origin, layer in sources:
        for key in layer.keys() & OF_ARGUMENTS.keys() - {"strict"}:
            raise AudioRestorerError(f"{origin}: {key}: this is what {OF_ARGUMENTS[key]} says")
        values = _merged(values, layer)
        validate(Config, values, origin)
    for key in PATHS:
        _make_absolute(values, key)
    return values


def _from_file(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise AudioRestorerError(f"{path}: settings are needed, one `key: value` per line")
    return values


def _from_option(text: str) -> dict[str, Any]:
    """`a.b=c` as the settings that it means; `c` is read as YAML."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise AudioRestorerError(f"--set {text}: KEY=VALUE is needed, as denoise.wet=0.5")
    content = yaml_value(value, f"--set {text}: {key}")
    for part in reversed(parts):
        content = {part: content}
    return dict(content)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Sections are merged, anything else of `above` takes the place of what was there."""
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        out[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return out


def _make_absolute(values: dict[str, Any], key: str) -> None:
    """The workflow has a working folder of its own: a path that the caller's folder has is meant from there."""
    *sections, name = key.split(".")
    for section in sections:
        values = values.get(section) or {}
    path = values.get(name)
    if isinstance(path, str) and path != "auto" and (name == "store" or os.path.exists(path)):
        values[name] = os.path.abspath(path)
