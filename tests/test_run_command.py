"""`audiorestorer run`, `presets` and `doctor` without a run: options, mistakes, what is said at the end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile as sf

from audiorestorer import presets
from audiorestorer.checking import read_yaml, validate
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.launch import batch as launched
from audiorestorer.launch import child, results
from audiorestorer.launch.plan import Plan, Request, plan
from audiorestorer.launch.screen import Screen
from audiorestorer.progress import State
from tests import warm
from tests.workflow.conftest import RATE, ROOT, speechlike

LONG = "x" * 300


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    """A folder of one recording, beside it a file that is none."""
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in/a.wav", speechlike(1), RATE)
    (tmp_path / "notes.txt").write_text("x\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        "-m", "audiorestorer", *arguments, cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent", "out"], "IN: absent: no such file or folder"),
        (["in", "in/out"], "output ("),
        (["in", "."], "holds input"),
        (["in", "notes.txt"], "OUT: notes.txt: is a file"),
        (
            ["in", "out", "--set", "denoise.wett=0.5"],
            "--set denoise.wett=0.5: denoise.wett: unknown key; did you mean 'wet'?",
        ),
        (["in", "out", "--set", "denoise.wet=2"], "denoise.wet: Input should be less than or equal to 1 (got 2)"),
        (["in", "out", "--set", "denoise.wet"], "KEY=VALUE is needed"),
        (["in", "out", "--set", "exclude=[a"], "--set exclude=[a: exclude: not valid YAML"),
        (["in", "out", "--set", "artifacts=x"], "--set artifacts=x: artifacts: this is what --work says"),
        (["in", "out", "--preset", "vinyl"], "'vinyl': no such preset: speech_over_music, "),
        (["in", "out", "--preset", "noisy_speech", "--full"], "--full is --preset full"),
        (["in", "out", "--config", "notes.txt"], "notes.txt: settings are needed"),
        (["in", "out", "--reference", "absent"], "absent: no such folder"),
        (["in", "out", "--report", "in/report.html"], "--report ("),
        (["in", "out", "--report", "notes.txt/x.html"], "--report: {}/notes.txt: is a file, not a folder"),
        (["in", "out", "--report", LONG], "File name too long"),
        (["in", "out", "--work", "notes.txt"], "--work: {}/notes.txt: is a file, not a folder"),
        (["in", "out", "--set", "store=notes.txt/x"], "store: {}/notes.txt/x: {}/notes.txt is a file, not a folder"),
        (["in", "notes.txt/out"], "OUT: {}/notes.txt/out: {}/notes.txt is a file, not a folder"),
        (["in", "loop/out"], "OUT: {}/loop/out: Too many levels of symbolic links"),
        (["in", "dangling"], "OUT: {}/dangling: is a link to something that is not there"),
        (["in", "/proc/xx"], "OUT: /proc/xx: cannot be made: No such file or directory"),
        (["in", f"new/{LONG}"], "File name too long"),
        ([LONG, "out"], "File name too long"),
        (["empty", "out"], "input: {}/empty: holds no recording"),
        (["in", "out", "--cores", "0"], "--cores"),
        (["in"], "Missing argument 'OUT'"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(batch: Path, arguments: list[str], message: str) -> None:
    before = sorted(batch.rglob("*"))
    done = start(batch, "run", *arguments)
    message = message.replace("{}", str(batch))
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if "RuntimeWarning" not in line]  # of the forked interpreter
    assert len(said) == 1 or "Usage:" in done.stderr
    assert sorted(batch.rglob("*")) == before


def test_two_runs_share_neither_out_nor_work(batch: Path) -> None:
    first, other_work, other_out = (
        plan(Request(batch / "in", batch / out, work=batch / work)) for out, work in ("ab", "ac", "db")
    )
    with child.locked(first):
        with (
            pytest.raises(AudioRestorerError, match=f"another run is working in {batch}/a: .* another OUT$"),
            child.locked(other_work),
        ):
            pass
        with (
            pytest.raises(AudioRestorerError, match=f"another run is working in {batch}/b: .* another --work$"),
            child.locked(other_out),
        ):
            pass
    assert not (batch / "c").exists(), "a run that is refused makes nothing"
    with child.locked(other_work):
        pass


def test_where_the_report_can_lie_is_tried_before_the_work(batch: Path) -> None:
    made = plan(Request(batch / "in", batch / "out", report=Path("/proc/report.html")))
    with pytest.raises(AudioRestorerError, match=r"^--report: /proc/report.html: cannot be written: "):
        results.check_report_place(made)


def test_a_report_that_cannot_be_placed_after_the_work_is_in_the_result(
    batch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = plan(Request(batch / "in", batch / "out", report=batch / "place/x.html"))
    made.work.mkdir(parents=True)
    (made.work / child.MADE_REPORT).write_text("a report")
    (batch / "place").write_text("a file that came meanwhile")
    assert launched._finished(made, batch / "x.log", results.Result(0, files=3), is_idle=False) == launched.FAILED
    assert "the recordings are restored, but the report could not be written" in capsys.readouterr().err
    said = results.last_result(made.work)
    assert (said["exit_code"], said["files"], said["failed"][0][0]) == (3, 3, "report")


def test_plain_lines_come_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.delenv("AUDIORESTORER_PROGRESS", raising=False)
    shown, said = Screen(), []
    for sec in (0.2, 31.0, 40.0, 55.0, 71.0, 80.0):
        now = 100 + sec
        running = State("running", "fuse", int(sec), 90, sec / 100)
        shown.show(running if sec > 35 else State("starting", message="x"))
        said.append(capsys.readouterr().err)
    assert said == [
        "", "audiorestorer: starting: x\n", "audiorestorer: fuse: 40 of 90 files, 40 %\n", "",
        "audiorestorer: fuse: 71 of 90 files, 71 %\n", "",
    ]  # fmt: skip


def test_settings_are_merged_in_the_order_preset_file_option(batch: Path) -> None:
    own = batch / "own.yaml"
    own.write_text("loudness: {target_lufs: -16, dual_mono: true}\nstrict: true\nstore: shared\n")
    made = plan(
        Request(
            batch / "in",
            batch / "out",
            "narrow_band",
            own,
            ["loudness.target_lufs=-20", "separators=[{name: a, model: b}]"],
        )
    )
    assert made.config["enhance"] == {"enabled": True}
    assert made.config["loudness"] == {"target_lufs": -20, "dual_mono": True}
    assert made.config["separators"] == [{"name": "a", "model": "b"}], "a list takes the place of the preset's"
    assert made.config["store"] == str(Path("shared").absolute()), "the workflow has a working folder of its own"
    assert made.strict and "strict" not in made.config, "rejected files end no job: `run` counts them"
    assert made.work == batch / "out/.audiorestorer" and made.report == batch / "out/report.html"


def test_presets_are_valid_and_described_and_the_default_is_the_configuration_s() -> None:
    known = presets.presets()
    assert [each.name for each in known] == ["speech_over_music", "narrow_band", "noisy_speech", "old_record", "full"]
    assert "downloads gigabytes" in known[-1].description
    for each in known:
        validate(Config, read_yaml(each.path), each.name)
        assert each.description.endswith(".") and len(each.description) > 20, each.name
    assert known[0].name == presets.DEFAULT
    assert validate(Config, read_yaml(known[0].path), "default") == Config()


def test_a_foreign_report_is_kept(batch: Path) -> None:
    made = plan(Request(batch / "in", batch / "out"))
    made.work.mkdir(parents=True)
    results.check_report_place(made)
    made.report.write_text("mine")
    with pytest.raises(AudioRestorerError, match="is not the report of an earlier run here, and is kept"):
        results.check_report_place(made)
    (made.work / "r.html").write_text("ours")
    sha256 = results.place_report(made, made.work / "r.html")
    results.Result(0, report_sha256=sha256).write(made.work)
    results.check_report_place(made)


def test_five_lines_say_counts_figures_and_places(batch: Path) -> None:
    made = plan(Request(batch / "in", batch / "out"))
    metrics = {
        "counts": {"ok": 2, "rejected": 1},
        "rejected": [{"id": "x", "input": "x.wav", "reason": "silent"}],
        "summary": {"si_sdr_db": {"n": 2, "median": 11.26}, "si_sdr_in_db": {"n": 2, "median": 2.0}},
    }
    (made.work / "artifacts/eval").mkdir(parents=True)
    (made.work / "artifacts/eval/metrics.json").write_text(json.dumps(metrics))
    result = results.of_metrics(made)
    result.report = str(made.report)
    lines = results.lines_of(result, made, made.work / "log/x.log")
    assert len(lines) == 5
    assert lines[0] == f"files     2 restored in {made.output}" and lines[1] == "rejected  1: x.wav (silent)"
    assert "SI-SDR 2.0 -> 11.3 dB" in lines[2] or "SI-SDR 2.00 -> 11.26 dB" in lines[2]
    assert lines[3].endswith("/report.html") and lines[4].endswith("log/x.log")


def test_the_reason_of_a_failed_job_is_the_last_word_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/0.log").write_text("fuse: 1/2\naudiorestorer: /x: No space left on device: free some space\n")
    log = tmp_path / "run.log"
    log.write_text("Error in rule fuse:\n    jobid: 5\n    log: logs/0.log (check log file(s) for error details)\n")
    made = Plan(tmp_path, tmp_path, tmp_path, tmp_path, {}, None, False)
    assert child.failed_jobs(made, log) == [("fuse", "/x: No space left on device: free some space")]
    log.write_text(
        'WorkflowError in file "x/common.smk", line 57:\nno network a\n  File "x/common.smk", line 57, in <module>\n'
    )
    assert child.error_in(log) == "no network a"


def test_a_state_is_read_back_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    state = State("running", "fuse", 3, 14, 0.25, 12.5, "x")
    state.write(tmp_path / "p.json")
    assert State.read(tmp_path / "p.json") == state
    (tmp_path / "p.json").write_text('{"state"')
    assert State.read(tmp_path / "p.json") is None
    state.write(Path("/proc/absent/p.json"))  # it is only a display


def test_the_quick_commands_import_little() -> None:
    program = (
        "import sys; sys.argv = ['audiorestorer', 'run', '--help']\nfrom audiorestorer.entry import main\n"
        "try:\n    main()\nfinally:\n    print({'numpy', 'rich', 'snakemake', 'audiorestorer.config'} & sys.modules.keys() or 'none')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert "--preset NAME" in done.stdout and done.stdout.strip().endswith("none"), done.stdout + done.stderr


def test_a_shell_completes_presets_and_settings() -> None:
    def completed(line: str) -> str:
        program = "import sys; sys.argv = ['audiorestorer']\nfrom audiorestorer.entry import main\nmain()"
        environment = {
            "_AUDIORESTORER_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment
        )
        return done.stdout

    assert "narrow_band" in completed("audiorestorer run --preset na")
    assert "denoise.wet=" in completed("audiorestorer run --set denoise.we")
    assert "run" in completed("audiorestorer ru")


def test_doctor_finds_what_the_default_run_needs(tmp_path: Path) -> None:
    done = start(tmp_path, "doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["ok"] and found["workflow"] == str(ROOT)
    states = {(each["group"], each["name"]): each["state"] for each in found["checks"]}
    assert (
        states["packages", "needed"]
        == states["models", "of the default run"]
        == states["presets", "speech_over_music"]
        == "ok"
    )
    assert len(start(tmp_path, "doctor").stdout.splitlines()) < 40, "one screen"
    (tmp_path / "file").write_text("")
    for place, message in (("file/out", "file is a file, not a folder"), (LONG, "File name too long")):
        refused = start(tmp_path, "doctor", place)
        assert (
            refused.returncode == 2 and refused.stderr.strip().endswith(message) and "Traceback" not in refused.stderr
        )
