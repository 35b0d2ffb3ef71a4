"""Another workflow uses this one as a module; and what ends a run before its first job. Only a rule of the other workflow is run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from tests import warm
from tests.workflow.conftest import RATE, ROOT, speechlike

EXAMPLE = ROOT / "docs/module_example"
MODULE = """
rule seen:
    output: "seen.txt"
    shell: "echo PYTHONPATH=${{PYTHONPATH:-none}} OMP=${{OMP_WAIT_POLICY:-none}} PATH=$PATH > {output}"


module restorer:
    snakefile: "%s/Snakefile"
    %s


use rule * from restorer as restorer_*


rule mine:
    input: rules.restorer_all.input
"""


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The folder of another workflow, with a registry and an experiment of its own kind under our files' names."""
    folder = tmp_path / "other workflow"
    (folder / "input").mkdir(parents=True)
    sf.write(folder / "input/a.wav", speechlike(1), RATE)
    for name in ("config/models.yaml", "config/config.yaml", "config/experiments/denoiser_demo.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("theirs: 1\n")
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_WAIT_POLICY")}
    done = warm.run("-m", "snakemake", "--cores", "1", *arguments, cwd=folder, env=environment)
    return done.returncode, done.stdout + done.stderr


def use(folder: Path, line: str) -> None:
    (folder / "Snakefile").write_text(MODULE % (ROOT, line))


def test_a_dry_run_lists_our_jobs_and_takes_our_files(other: Path) -> None:
    use(other, 'config: {"input": "input", "output": "output"}')
    code, text = run(other, "-n", "mine")
    assert code == 0, text[-3000:]
    for job in ("restorer_ingest", "restorer_separate", "restorer_publish", "restorer_report", "mine"):
        assert job in text


def test_the_other_workflow_keeps_its_target_and_its_environment(other: Path) -> None:
    use(other, 'config: {"input": "input", "output": "output"}')
    code, text = run(other)
    assert code == 0 and "restorer_" not in text, text[-3000:]
    assert (other / "seen.txt").read_text().split() == ["PYTHONPATH=none", "OMP=none", f"PATH={os.environ['PATH']}"]
    assert not (other / "artifacts").exists()


def test_without_config_it_goes_by_our_defaults_and_the_command_line(other: Path) -> None:
    use(other, "")
    code, text = run(other, "-n", "mine", "--config", "input=input", "output=cleaned", "theirs=1")
    assert code == 0 and "restorer_publish" in text, text[-3000:]


def test_a_prefix_is_refused(other: Path) -> None:
    use(other, 'prefix: "results"\n    config: {"input": "input", "output": "output"}')
    code, text = run(other, "-n", "mine")
    assert code == 1 and "takes no `prefix`" in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["input=input", "output=input"], "output (input) is the same as input (input)"),
        (["input=007", "output=o"], "write ./ before it, as ./007"),
    ],
)
def test_a_run_ends_before_its_first_job(other: Path, words: list[str], message: str) -> None:
    code, text = run(other, "-s", str(ROOT / "Snakefile"), "--config", *words)
    assert code == 1 and message in text and "Traceback" not in text and not (other / "artifacts").exists()


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A working folder for docs/module_example, with one recording."""
    (tmp_path / "recordings").mkdir()
    sf.write(tmp_path / "recordings/a.wav", speechlike(1), RATE)
    shutil.copy(EXAMPLE / "config.yaml", tmp_path)
    return tmp_path


def test_the_example_of_the_guide_plans_both_workflows(example: Path) -> None:
    code, text = run(example, "-s", str(EXAMPLE / "Snakefile"), "-n")
    assert code == 0 and "table" in text and "restore_publish" in text, text[-3000:]
    with open(example / "config.yaml", "a") as file:
        file.write("  postmask: {betta: 1}\n")
    code, text = run(example, "-s", str(EXAMPLE / "Snakefile"), "-n")
    assert code == 1 and "postmask.betta: unknown key" in text and "Traceback" not in text


def test_the_example_s_hooks_refuse_what_our_own_run_refuses(example: Path) -> None:
    """A rule has another name there: what a package is needed for is found all the same."""
    (example / "sitecustomize.py").write_text(
        "import importlib.machinery as m\n"
        "found = m.PathFinder.find_spec\n"
        "m.PathFinder.find_spec = lambda name, *a: None if name == 'torch' else found(name, *a)\n"
    )
    with open(example / "config.yaml", "a") as file:
        file.write("  separators: [{name: a, model: pilot_sep_a, backend: torch}]\n")
    line = [sys.executable, "-m", "snakemake", "--cores", "1", "-s", str(EXAMPLE / "Snakefile")]
    own = {**os.environ, "PYTHONPATH": str(example)}
    done = subprocess.run(line, cwd=example, env=own, capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "the model pilot_sep_a needs torch, not installed yet" in text, text[-3000:]
    assert not (example / "results/artifacts").exists()


@pytest.mark.slow
def test_the_example_of_the_guide_runs_as_it_stands(example: Path) -> None:
    house = ["-s", str(EXAMPLE / "Snakefile"), "--workflow-profile", str(ROOT / "profiles/default")]
    code, text = run(example, *house)
    assert code == 0, text[-5000:]
    header, row = (example / "results/table.csv").read_text().splitlines()
    assert header == "id,status,duration_sec" and row == "a,ok,1.5"
    assert (example / "results/cleaned/a.wav").is_file()
    code, text = run(example, *house)
    assert code == 0 and "Nothing to be done" in text
    with open(example / "results/artifacts/.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, text = run(example, *house, "--forcerun", "restore_collect")
        assert code == 1 and "another run is working in results/artifacts" in text
        assert "Traceback" not in text


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """What `snakedeploy deploy-workflow` 0.17.1 leaves, its `snakefile:` mended as docs/modules.md says."""
    for name in ("config", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").write_text(
        'from snakemake.utils import min_version\n\nmin_version("6.10.0")\n\nconfigfile: "config/config.yaml"\n\n'
        f'module restorer:\n    snakefile:\n        "{ROOT}/workflow/Snakefile"\n    config:\n        config\n\n'
        "use rule * from restorer\n"
    )
    (tmp_path / "recordings").mkdir()
    sf.write(tmp_path / "recordings/a.wav", speechlike(1), RATE)
    return tmp_path


def test_what_snakedeploy_leaves_has_our_target_and_finds_our_weights(deployed: Path) -> None:
    code, text = run(deployed, "--config", "input=recordings", "-n")
    assert code == 0 and "publish" in text, text[-3000:]
    code, text = run(deployed, "--config", "input=recordings", "--", "artifacts/models/pilot_sep_a.json")
    assert code == 0, text[-3000:]


def test_the_catalog_s_snakefile_is_the_one_above() -> None:
    """The same target by both."""
    told = {}
    for name in ("Snakefile", "workflow/Snakefile"):
        code, text = run(ROOT, "-s", name, "-n", "--config", "artifacts=/tmp/none")
        assert code == 0, text[-3000:]
        told[name] = text[text.index("Job stats") : text.index("total")]
    assert told["Snakefile"] == told["workflow/Snakefile"]


def test_a_jobs_python_finds_the_clone_and_needs_no_home(tmp_path: Path) -> None:
    own = {
        "PATH": os.environ["PATH"],
        "HOME": "/dev/null/home",
        "XDG_CACHE_HOME": str(tmp_path / "c a"),
        "PYTHONPATH": "/their/own",
    }
    own["AUDIORESTORER_EXECUTABLE"] = sys.executable
    shown = "*a.__path__, os.environ['PYTHONPATH'], m.get_configdir(), sep='|'"
    program = f"import os, matplotlib as m, audiorestorer as a; print({shown})"
    line = ["sh", str(ROOT / "rules/python.sh"), "-c", program]
    done = subprocess.run(line, cwd=tmp_path, env=own, capture_output=True, text=True)
    assert (
        done.stdout.strip() == f"{ROOT / 'audiorestorer'}|{ROOT}:/their/own|{tmp_path / 'c a/matplotlib'}"
        and not done.stderr
    )
