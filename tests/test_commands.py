"""The training half's command lines with wrong arguments: exit codes and messages, never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

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
        (
            ["train", "--config", "config/experiments/denoiser_overfit.yaml", "--out", "/tmp/x.safetensors"],
            "--manifest",
        ),
        (
            ["infer-batch", "--in", "data", "--checkpoint", "README.md", "--out", "/tmp/x"],
            "README.md: not a readable safetensors file",
        ),
        (["analyse-degradation", "/nowhere"], "/nowhere: no such file or folder"),
        (["learning-from-audio-debug", "--root", "/nowhere"], "/nowhere: no such folder"),
        (["sanity-suite", "--noise", "x.jsonl"], "--noise goes with --manifest"),
        (["make-degraded", "--out", "/tmp/x"], "either --speech or --manifest"),
        (["make-degraded", "--out", "/tmp/x", "--config", '{"item": 3}'], "did you mean 'items'"),
        (["evaluate-restorer", "/nowhere", "--out", "/tmp/x.json", "--method", "input"], "/nowhere: cannot read"),
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


def test_help_needs_no_torch() -> None:
    program = (
        "import sys; sys.argv = ['audiorestorer', 'train', '--help']\nfrom audiorestorer.__main__ import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip().endswith("False"), done.stderr
