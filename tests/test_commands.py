"""The training half's command lines with wrong arguments: exit codes and messages, never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from audiorestorer.__main__ import app
from audiorestorer.commands.render import ENHANCE_FLAGS
from audiorestorer.config import EnhanceSettings
from audiorestorer.errors import AudioRestorerError
from tests import warm
from tests.datasets.test_stems import write_track

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> tuple[int, str]:
    done = warm.run("-m", "audiorestorer", *arguments)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit-stems", "--root", "/nowhere"], "/nowhere: no such folder"),
        pytest.param(
            ["train", "--config", "config/experiments/denoiser_overfit.yaml", "--out", "/tmp/x.safetensors"],
            "--manifest",
            marks=pytest.mark.torch,
        ),
        pytest.param(
            ["infer-batch", "--in", "data", "--checkpoint", "README.md", "--out", "/tmp/x"],
            "README.md: not a readable safetensors file",
            marks=pytest.mark.torch,
        ),
        pytest.param(["analyse-degradation", "/nowhere"], "/nowhere: no such file or folder", marks=pytest.mark.torch),
        pytest.param(
            ["learning-from-audio-debug", "--root", "/nowhere"], "/nowhere: no such folder", marks=pytest.mark.torch
        ),
        (["sanity-suite", "--noise", "x.jsonl"], "--noise goes with --manifest"),
        (["make-degraded", "--out", "/tmp/x"], "either --speech or --manifest"),
        (["make-degraded", "--out", "/tmp/x", "--config", '{"item": 3}'], "did you mean 'items'"),
        pytest.param(
            ["evaluate-restorer", "/nowhere", "--out", "/tmp/x.json", "--method", "input"],
            "/nowhere: cannot read",
            marks=pytest.mark.torch,
        ),
        (["ablation-report", "/nowhere.json", "--out", "/tmp/x"], "/nowhere.json: cannot read"),
        (
            ["train", "--config", "x.yaml", "--manifest", "x", "--out", "/tmp/x", "--changes", "[1]"],
            "--changes: not a JSON object",
        ),
    ],
)
def test_mistakes_end_with_two_and_a_message(arguments: list[str], message: str) -> None:
    code, text = run(*arguments)
    assert code == 2 and message in text and "Traceback" not in text


def test_strict_audit_ends_with_one(tmp_path: Path) -> None:
    write_track(tmp_path / "db/t", drums=None)
    arguments = ["audit-stems", "--root", str(tmp_path / "db"), "--csv", str(tmp_path / "a.csv")]
    assert run(*arguments)[0] == 0
    code, text = run(*arguments, "--strict")
    assert code == 1 and "failed: ./t" in text and "Traceback" not in text


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_needs_no_torch(arguments: list[str]) -> None:
    program = (
        f"import sys; sys.argv = ['audiorestorer', *{arguments}]\nfrom audiorestorer.__main__ import main\n"
        "try:\n    main()\nfinally:\n    print({'torch', 'scipy'} & sys.modules.keys() or 'neither')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip().endswith("neither"), done.stderr


def commands() -> dict[str, typer.core.TyperCommand]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    stores = group.commands["store"]
    assert isinstance(stores, typer.core.TyperGroup)
    every = {**group.commands, **{f"store {name}": command for name, command in stores.commands.items()}}
    return {name: command for name, command in every.items() if isinstance(command, typer.core.TyperCommand)}


def test_every_command_and_option_says_what_it_is() -> None:
    every = commands()
    assert len(every) > 45
    for name, command in every.items():
        assert command.help, name
        assert [each.name for each in command.params if not each.help] == [], name


def test_enhance_folder_has_the_defaults_of_its_section() -> None:
    params = {str(each.name): each for each in commands()["enhance-folder"].params}
    section = EnhanceSettings()
    for name in ENHANCE_FLAGS:
        assert params[name].default == getattr(section, name), name
        assert (EnhanceSettings.model_fields[name].description or "") in params[name].help


def test_nothing_that_is_read_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"x")
    for line in (
        ["export-onnx", "--checkpoint", str(path), "--out", str(path)],
        ["join-enhancer", str(path), "--out", str(path)],
        ["evaluate-model", str(path), "--data", str(tmp_path / "d"), "--out", str(path)],
    ):
        ended = CliRunner().invoke(app, line)
        assert isinstance(ended.exception, AudioRestorerError) and "is the same as" in str(ended.exception), line
