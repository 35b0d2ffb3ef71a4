"""Write the locks anew from pyproject.toml: every package at one version, with the hashes of all its files.

    make locks                                           # the packages that pyproject.toml names now
    make locks ARGS="--upgrade-package numpy"            # and a newer version of one

A version that a lock holds stays; what pyproject.toml newly asks for is added, and what it no longer asks for goes. The locks are
universal: one file serves Python 3.11 to 3.13 on the platforms of `[tool.uv] environments`, and a package that only some of them need
has a marker. requirements.lock is what rendering with the embedded networks needs; the others hold what comes on top:
requirements-tests.lock for the tests that need no torch, requirements-models.lock for all else, requirements-kubernetes.lock for the
cluster. They are complete and are installed with `--no-deps`.

`uv` resolves (`make locks` installs it into artifacts/uv). After it: `make setup-models`, `python -m scripts.release.write_env` and
`make sbom`, which read the requirements and licences of what is installed. requirements-extras.lock is a list made by hand, since its
packages are installed one by one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection
from importlib.metadata import requires
from pathlib import Path

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BASE, TESTS, MODELS = ROOT / "requirements.lock", ROOT / "requirements-tests.lock", ROOT / "requirements-models.lock"
KUBERNETES = ROOT / "requirements-kubernetes.lock"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# packages of which a part is used that needs nothing of what they ask for
UNUSED = {entry["name"] for entry in PYPROJECT["tool"]["uv"]["dependency-metadata"]}
EXTRAS = ("tests", "models", "dev", "training-audio")  # of the locks that an environment of a developer has
PYTHONS = ("3.11", "3.12", "3.13")
LIMIT = PYPROJECT["project"]["requires-python"].rpartition("<")[2]
PLATFORMS = (  # (sys_platform, platform_system, os_name, platform_machine) of `[tool.uv] environments`
    ("linux", "Linux", "posix", "x86_64"), ("linux", "Linux", "posix", "aarch64"),
    ("darwin", "Darwin", "posix", "arm64"), ("win32", "Windows", "nt", "AMD64"),
)  # fmt: skip
ENVIRONMENTS = [
    {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": platform, "platform_system": system,
     "os_name": name, "platform_machine": machine, "implementation_name": "cpython", "platform_python_implementation": "CPython"}
    for python in PYTHONS for platform, system, name, machine in PLATFORMS
]  # fmt: skip


def packages(text: str) -> dict[str, str]:
    """The entries of a lock, with their hashes, by name. A name that is locked once for each Python has them all in one."""
    found: dict[str, str] = {}
    for entry in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        if "==" in entry:
            name = canonicalize_name(re.split(r"[=\[]", entry)[0])
            found[name] = found.get(name, "") + entry
    return found


def pins(text: str) -> dict[str, str]:
    """The version of each package of a lock that this Python installs here."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)(?: *; *([^\\]+))?", line)
        if match and (not match[3] or Marker(match[3]).evaluate()):
            found[canonicalize_name(match[1])] = match[2]
    return found


def needed(names: Collection[str], without: Collection[str] = ()) -> set[str]:
    """The installed packages that these requirements bring, themselves included, on this platform.

    Args:
        without: packages that are left out with all that only they bring.

    Raises:
        PackageNotFoundError: one is not installed: run this in the lock's environment.
    """
    todo, seen = [Requirement(name) for name in names], set[tuple[str, str]]()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen or name in without:
                continue
            seen.add((name, extra))
            for line in [] if name in UNUSED else requires(name) or []:
                below = Requirement(line)
                if below.marker is None or below.marker.evaluate({"extra": extra}):
                    todo.append(below)
    return {name for name, _ in seen}


def plain(entry: str) -> str:
    """An entry of a lock, its marker without what holds wherever the locks resolve: most have none left."""
    head, separator, hashes = entry.partition(" \\\n")
    requirement, _, marker = head.partition(" ; ")
    if not marker:
        return entry
    # uv writes "for these Pythons and ((on this platform) or ...)"
    parts = ("", marker.partition(" and ((")[0], marker.removeprefix(f"python_full_version < '{LIMIT}' and "))
    short = min((part for part in parts if _where(part) == _where(marker)), key=len, default=marker)
    return requirement + (f" ; {short}" if short else "") + separator + hashes


def _where(marker: str) -> list[bool]:
    """In which of the environments a marker holds."""
    try:
        return [not marker or Marker(marker).evaluate(environment) for environment in ENVIRONMENTS]
    except InvalidMarker:  # a part of one
        return []


def compiled(
    extras: Collection[str], held: str, arguments: Collection[str] = (), constraint: Path | None = None
) -> str:
    """What uv makes of pyproject.toml with these extras.

    Args:
        held: a lock whose versions stay where they can.
        constraint: a lock whose versions stay.

    Raises:
        SystemExit: uv is missing, or there is no solution; uv has said why.
    """
    uv = shutil.which("uv")
    if not uv:
        raise SystemExit("write_locks: there is no uv on PATH: run `make locks`")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "compiled.lock"
        out.write_text(held, encoding="utf-8")
        command = [
            uv, "pip", "compile", "pyproject.toml", *(f"--extra={extra}" for extra in extras), "--universal",
            f"--python-version={PYTHONS[0]}", "--generate-hashes", "--no-header", "--no-annotate", "--quiet",
            *([f"--constraints={constraint}"] if constraint else []), *arguments, f"--output-file={out}",
        ]  # fmt: skip
        if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit("write_locks: no lock was changed")
        return "".join(map(plain, re.split(r"^(?=[A-Za-z0-9])", out.read_text(encoding="utf-8"), flags=re.MULTILINE)))


def locks(arguments: Collection[str]) -> dict[Path, str]:
    """The text of each lock that pyproject.toml makes. `arguments`: further ones of `uv pip compile`."""
    held = "".join(text_of(lock) for lock in (BASE, TESTS, MODELS))
    everything = compiled(EXTRAS, held, arguments)
    with tempfile.NamedTemporaryFile("w", suffix=".lock", encoding="utf-8") as file:
        file.write(everything)
        file.flush()
        constraint = Path(file.name)
        base = packages(compiled((), everything, (), constraint))
        tests = packages(compiled(("tests",), everything, (), constraint))
        kubernetes = packages(compiled(("kubernetes",), text_of(KUBERNETES) + everything, (), constraint))
    entries = packages(everything)
    parts = {
        BASE: [name for name in entries if name in base],
        TESTS: [name for name in entries if name in tests and name not in base],
        MODELS: [name for name in entries if name not in base and name not in tests],
    }
    return {lock: "".join(entries[name] for name in names) for lock, names in parts.items()} | {
        KUBERNETES: "".join(entry for name, entry in kubernetes.items() if name not in entries)
    }


def text_of(lock: Path) -> str:
    return lock.read_text(encoding="utf-8") if lock.exists() else ""


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        raise SystemExit(__doc__)
    for lock, content in locks(sys.argv[1:]).items():
        before, after = packages(text_of(lock)), packages(content)
        head = re.match(r"(?:#.*\n)*", text_of(lock))
        lock.write_text((head[0] if head else "") + content, encoding="utf-8")
        changed = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
        print(f"{lock.name}: {len(after)} packages; changed: {', '.join(changed) or 'none'}")
