"""`audiorestorer doctor`: what is here, and what is missing for which feature. Imports no network's runtime."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from audiorestorer import devices, presets
from audiorestorer.checking import read_yaml, validate
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.folders import place_for
from audiorestorer.installed import how
from audiorestorer.models import fetching, registry
from audiorestorer.places import in_clone, workflow_root
from audiorestorer.workflow import Workflow

NAME = "audiorestorer"
REGISTRY = "config/models.yaml"
OK, MISSING, ABSENT = "ok", "missing", "absent"  # missing: the default run needs it; absent: a feature does
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
LEAST_FREE_GB = 1.0
EXTRAS = {  # of pyproject.toml, and what they are for
    "models": "the full models, the enhancer, a GPU, training",
    "quantised": "MDX-Extra-Q (preset full)",
    "pesq": "the metric PESQ",
    "whisper": "the recogniser faster-whisper",
    "kubernetes": "runs on Kubernetes",
}
MAKE = {"models": "setup-models", "quantised": "setup-extras", "pesq": "setup-extras", "whisper": "setup-extras"}


@dataclass(frozen=True)
class Check:
    """One line: what, whether it is here, the details, and how to get it where it is not."""

    group: str
    name: str
    state: str
    detail: str = ""
    remedy: str = ""


def checks(folder: Path) -> list[Check]:
    """All that this machine has and lacks. `folder`: where the results would go, for the free space.

    Raises:
        AudioRestorerError: no folder can be there.
    """
    return [*_packages(), *_machine(folder), *_models(), *_features()]


def is_fit(found: list[Check]) -> bool:
    """Whether the default run has what it needs."""
    return all(check.state != MISSING for check in found)


def as_json(found: list[Check]) -> dict[str, Any]:
    return {
        "ok": is_fit(found),
        "version": _version(),
        "workflow": str(_root()),
        "checks": [asdict(each) for each in found],
    }


def as_text(found: list[Check]) -> str:
    """One screen for people."""
    lines = [f"AudioRestorer {_version()}, Python {platform.python_version()}, workflow in {_root()}"]
    group = ""
    for check in found:
        if check.group != group:
            group = check.group
            lines.append(f"{group}:")
        mark = {OK: "  ok      ", MISSING: "  MISSING ", ABSENT: "  -       "}[check.state]
        remedy = f" [{check.remedy}]" if check.remedy else ""
        lines.append(f"{mark}{check.name}: {check.detail}{remedy}")
    lines.append(
        "The default run has all that it needs." if is_fit(found) else "The default run cannot work: see MISSING."
    )
    return "\n".join(lines)


def _version() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(NAME)
    return str(_project()["version"])


def _root() -> Path | str:
    try:
        return workflow_root()
    except AudioRestorerError as error:
        return str(error)


def _project() -> dict[str, Any]:
    """The table `project` of a clone's pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((workflow_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _requirements() -> list[tuple[str, Requirement]]:
    """(extra, requirement) of this package; the extra is empty for what every run needs."""
    if in_clone():
        project = _project()
        groups = {"": project["dependencies"], **project["optional-dependencies"]}
        return [(extra, Requirement(text)) for extra, texts in groups.items() for text in texts]
    found = [Requirement(text) for text in metadata.requires(NAME) or []]
    return [(_extra_of(each), each) for each in found]


def _extra_of(requirement: Requirement) -> str:
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return ""
    return next((extra for extra in EXTRAS if requirement.marker.evaluate({"extra": extra})), "other")


def _lacking(requirements: list[Requirement]) -> list[str]:
    """Those that are not installed, or in a version that does not fit; without those of another Python or platform."""
    lacking = []
    for each in requirements:
        if each.marker and not any(each.marker.evaluate({"extra": extra}) for extra in ("", *EXTRAS)):
            continue
        try:
            version = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            lacking.append(each.name)
            continue
        if not each.specifier.contains(version, prereleases=True):
            lacking.append(f"{each.name} {version} (wanted: {each.specifier})")
    return lacking


def _packages() -> Iterator[Check]:
    by_extra: dict[str, list[Requirement]] = {}
    for extra, requirement in _requirements():
        by_extra.setdefault(extra, []).append(requirement)
    base = by_extra.get("", [])
    lacking = _lacking(base)
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("snakemake", "numpy", "av") if name not in lacking
    )
    if lacking:
        yield Check("packages", "needed", MISSING, ", ".join(lacking), how("setup"))
    else:
        yield Check("packages", "needed", OK, f"all {len(base)} ({versions})")
    for extra, purpose in EXTRAS.items():
        lacking = _lacking(by_extra.get(extra, []))
        state, detail = (ABSENT, f"{purpose}; lacking {', '.join(lacking)}") if lacking else (OK, purpose)
        yield Check("packages", f"extra {extra}", state, detail, how(MAKE.get(extra, ""), extra) if lacking else "")


def _machine(folder: Path) -> Iterator[Check]:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flags = _cpu_flags()
    known = [name for name in INSTRUCTIONS if name in flags]
    yield Check("machine", "threads", OK, f"{threads} of {os.cpu_count()}, {_cpu_name()}")
    yield Check("machine", "instructions", OK, ", ".join(known) or f"not known ({platform.machine()})")
    engines = [f"{title} {version}" for title, name in ENGINES if (version := _installed_version(name))]
    yield Check("machine", "engine", OK if engines else MISSING, ", ".join(engines) or "no onnxruntime")
    gpus = devices.visible(devices.installed(), os.environ)
    if gpus:
        usable = _installed_version("torch")
        detail = f"{len(gpus)}; used by PyTorch" if usable else f"{len(gpus)}; not used without PyTorch"
        yield Check("machine", "GPU", OK if usable else ABSENT, detail, "" if usable else how("setup-models", "models"))
    else:
        yield Check("machine", "GPU", ABSENT, "none: networks run on the CPU")
    yield _disk(folder)


ENGINES = (("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"), ("PyTorch", "torch"))


def _installed_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _disk(folder: Path) -> Check:
    place = place_for("OUT", Path(os.path.abspath(folder.expanduser())))
    free = shutil.disk_usage(place).free / 1e9
    writable = os.access(place, os.W_OK)
    detail = f"{free:.1f} GB free in {place}" + ("" if writable else ", which this user cannot write")
    state = OK if writable and free >= LEAST_FREE_GB else ABSENT
    return Check(
        "machine", "disk", state, detail, "" if state == OK else "give OUT a place with space that can be written"
    )


def _cpu_flags() -> set[str]:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("flags", "features")):
                return set(line.partition(":")[2].split())
    return set()


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _models() -> Iterator[Check]:
    """The registry's models: those that the default run needs, and how many of the others are here."""
    entries = registry.load(workflow_root() / REGISTRY)
    flow = Workflow(Config(), entries)
    needed = [*flow.networks()]
    lacking = [name for name in needed if not fetching.present(name, entries, [])]
    if lacking:
        yield Check(
            "models", "of the default run", MISSING, ", ".join(lacking), f"{NAME} models fetch {' '.join(lacking)}"
        )
    else:
        yield Check("models", "of the default run", OK, ", ".join(needed))
    others = [name for name in entries.models if name not in needed and entries.get(name).remote]
    detail = f"{len(others)} more to download when a run asks for them (`{NAME} models list`)"
    yield Check("models", "released", OK, detail)


def _features() -> Iterator[Check]:
    """Whether each preset could run, by the checks that a run makes itself."""
    for each in presets.presets():
        try:
            values = validate(Config, read_yaml(each.path), str(each.path))
            flow = Workflow(values, registry.load(workflow_root() / REGISTRY))
            jobs = [(stage.name, "clean") for stage in flow.stages]
            flow.check_installed(jobs)
        except AudioRestorerError as error:
            yield Check("presets", each.name, ABSENT, str(error))
            continue
        fetched = [name for name in flow.networks() if not fetching.present(name, flow.registry, [])]
        detail = f"would download {', '.join(fetched)}" if fetched else "ready"
        yield Check("presets", each.name, OK, detail)


def run(folder: Path, *, json_wanted: bool) -> int:
    """Print it; the exit code."""
    import json

    found = checks(folder)
    sys.stdout.write(json.dumps(as_json(found), indent=1) + "\n" if json_wanted else as_text(found) + "\n")
    return 0 if is_fit(found) else 1
