"""What it costs to add a group of metrics: one module and the generated defaults; what is forgotten is named before anything runs."""

from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.metrics import groups
from audiorestorer.metrics.files import Signals
from audiorestorer.report.metricinfo import METRICS, known
from audiorestorer.store import sha256_file
from tests import how_to

ROOT = Path(__file__).parents[2]
RATE = 16_000
((_, _, ZERO_CROSSINGS),) = how_to.edits("Add a metric")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the package and the configuration."""
    shutil.copytree(ROOT / "audiorestorer", tmp_path / "audiorestorer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path


def add(project: Path, text: str) -> None:
    (project / "audiorestorer/metrics/groups/zero_crossings.py").write_text(text)


def run(project: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=project, capture_output=True, text=True, input=given)


def changed(project: Path, folder: str) -> set[str]:
    """Files below a folder that are not as in the repository."""
    files = {path.relative_to(project) for path in (project / folder).rglob("*") if path.is_file()}
    return {
        str(name) for name in files
        if "__pycache__" not in name.parts
        and not ((ROOT / name).is_file() and filecmp.cmp(project / name, ROOT / name, shallow=False))
    }  # fmt: skip


def test_a_new_group_is_one_module_and_the_generated_defaults(project: Path) -> None:
    add(project, ZERO_CROSSINGS)
    done = how_to.run(project, "config", "config/config.yaml")
    assert done.returncode == 0, done.stderr
    tone = 0.1 * np.sin(2 * np.pi * 100.5 * np.arange(RATE) / RATE)
    (project / "audio").mkdir()
    for name, signal in (("in.wav", tone + 0.01), ("out.wav", tone)):
        sf.write(project / "audio" / name, signal, RATE, "FLOAT")
    hashes = {name: sha256_file(project / "audio" / name) for name in ("in.wav", "out.wav")}
    row = Item(
        id="x", noisy="audio/in.wav", noisy_sha256=hashes["in.wav"], path="audio/out.wav", sha256=hashes["out.wav"], sr=RATE,
        channels=1, duration=1.0, relative="in.wav", output="in.wav",
    )  # fmt: skip
    write_manifest(project / "loudness.jsonl", [row])
    (project / "snippets.json").write_text('{"items": []}')
    (project / "model.json").write_text('{"name": "m"}')
    for line in (
        'evaluate loudness.jsonl evaluate.jsonl --store store --config {"metrics":["zero_crossings","loudness"]}',
        "collect evaluate.jsonl --json metrics.json --csv metrics.csv",
        "report metrics.json report --snippets snippets.json --config {} --model model.json",
    ):
        done = how_to.run(project, *line.split(" "))
        assert done.returncode == 0, done.stderr
    (item,) = json.loads((project / "metrics.json").read_text())["items"]
    assert item["zero_crossings"] == pytest.approx(201, abs=1) and item["lufs"] < -20
    assert "zero_crossings" in (project / "metrics.csv").read_text().splitlines()[0]
    page = (project / "report/results.html").read_text()
    assert "zero crossings (1/s)" in page and "loudness after" in page
    new = {
        "audiorestorer/metrics/groups/zero_crossings.py",
        "config/config.yaml",
        "config/config.schema.yaml",
    }
    assert changed(project, "audiorestorer") | changed(project, "config") == new
    assert "wer, zero_crossings]" in (project / "config/config.yaml").read_text()


METRIC_LINE = next(line for line in ZERO_CROSSINGS.splitlines() if "metrics=" in line)
FORGOTTEN = {
    "cost": (ZERO_CROSSINGS.replace("    cost=Cost(110, channel=0.01),\n", ""), "'cost'"),
    "unit": (ZERO_CROSSINGS.replace('"1/s", "lower", 0, "changes of sign per second and channel"', ""), "'unit' and 'better'"),
    "title": (ZERO_CROSSINGS.replace('"zero crossings", ', '"", '), "the metric 'zero_crossings' has no title"),
    "way": (ZERO_CROSSINGS.replace('"lower"', '"less"'), "better: 'less' is not one of higher, lower, target"),
    "metrics": (ZERO_CROSSINGS.replace(METRIC_LINE, "    metrics=(),"), "metrics: none"),
    "computation": (ZERO_CROSSINGS.replace("    compute=compute,\n", ""), "give either compute, or load and sides"),
    "side's metric": (
        ZERO_CROSSINGS.replace("    compute=compute,\n", '    load=compute, sides=("noisy", "output"),\n'),
        "zero_crossings_in",
    ),
    "name": (ZERO_CROSSINGS.replace('Metric("zero_crossings"', 'Metric("stoi"'), "the metric stoi is one of "),
    "declaration": (ZERO_CROSSINGS.replace("GROUP = ", "GROUPS = "), "declares no GROUP"),
    "package": (ZERO_CROSSINGS.replace("import numpy", "import nobody_has_this"), "No module named 'nobody_has_this'"),
}  # fmt: skip


EACH = """
import json, sys
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import groups
for text in json.load(sys.stdin):
    (groups.FOLDER / "zero_crossings.py").write_text(text)
    groups.named.cache_clear(), groups.known.cache_clear(), sys.modules.pop("audiorestorer.metrics.groups.zero_crossings", None)
    try:
        groups.known()
        print("nothing")
    except AudioRestorerError as error:
        print(str(error))
"""


def test_what_is_forgotten_is_named_with_its_file(project: Path) -> None:
    add(project, ZERO_CROSSINGS)
    texts = [ZERO_CROSSINGS, *(text for text, _ in FORGOTTEN.values())]
    good, *errors = run(project, "-B", "-c", EACH, given=json.dumps(texts)).stdout.splitlines()
    assert good == "nothing"
    for (what, (_, message)), error in zip(FORGOTTEN.items(), errors, strict=True):
        assert "metrics/groups/zero_crossings.py: " in error and message in error, what
    line = "report m.json report --snippets s.json --config {} --model m.json"
    done = how_to.run(project, *line.split(" "))
    assert done.returncode == 2 and "zero_crossings.py: " in done.stderr and "Traceback" not in done.stderr


def test_the_workflow_does_not_start_with_a_declaration_that_is_not_complete(project: Path) -> None:
    for name in ("rules", "report", "profiles"):
        shutil.copytree(ROOT / name, project / name)
    shutil.copy(ROOT / "Snakefile", project)
    for name in ("data", "models"):
        (project / name).symlink_to(ROOT / name)
    add(project, FORGOTTEN["cost"][0])
    done = run(project, "-m", "snakemake", "-n", "-q", "--cores", "1")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "metrics/groups/zero_crossings.py: " in said and "'cost'" in said
    assert "Traceback" not in said


def test_a_name_without_a_module_is_an_error_that_names_the_file(project: Path) -> None:
    with pytest.raises(AudioRestorerError, match=r"metrics/groups/nothing\.py: no such file"):
        groups.named("nothing")
    done = how_to.run(project, "evaluate", "a", "b", "--config", '{"metrics": ["nothing"]}')
    assert done.returncode == 2 and "A module of audiorestorer/metrics/groups" in done.stderr
    assert "metrics.0" in done.stderr and "'nothing'" in done.stderr


@pytest.mark.parametrize(("put", "message"), [("zero", "zero is no metric of its GROUP"), ("", "stoi was not put")])
def test_a_computation_that_does_not_keep_to_its_declaration_is_an_error(put: str, message: str) -> None:
    group = groups.Group(
        metrics=(groups.Metric("stoi", "STOI", "", "higher"),), cost=groups.Cost(1),
        compute=lambda files, figures: figures.put(put, lambda: 1.0) if put else None,
    )  # fmt: skip
    silence = np.zeros((1, 10), np.float32)
    with pytest.raises(AudioRestorerError, match=rf"test_groups\.py: .*{message}"):
        group.measure(Signals(silence, silence, silence, RATE))


def test_declarations_are_read_without_what_is_slow_to_load() -> None:
    code = (
        "import sys; from audiorestorer.metrics import groups; groups.known();"
        "print([name for name in ('scipy', 'torch', 'pandas', 'pystoi', 'jiwer', 'num2words', 'matplotlib') if name in sys.modules])"
    )
    assert run(ROOT, "-c", code).stdout.strip() == "[]"


def test_a_page_that_shows_a_metric_which_is_gone_is_an_error() -> None:
    assert known("stoi", "wer") == ("stoi", "wer")
    with pytest.raises(AudioRestorerError, match=r"the report shows stoj: no such metric"):
        known("stoi", "stoj")


def test_the_report_has_every_metric_once_and_in_its_order() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names)) == sum(len(group.metrics) for group in groups.known().values())
    assert names[:3] == ["si_sdr_improvement_db", "si_sdr_in_db", "si_sdr_db"] and names[-1] == "true_peak_dbtp"
    assert names.index("dnsmos_p808") < names.index("lsd_in_db") < names.index("music_presence_in")
