"""`audiorestorer run`: a batch from its check to its result. The workflow does the work (`child`)."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from audiorestorer.errors import KEPT, AudioRestorerError
from audiorestorer.launch import child, results
from audiorestorer.launch.plan import Plan, Request, plan
from audiorestorer.launch.results import Result
from audiorestorer.launch.screen import screen
from audiorestorer.names import as_text
from audiorestorer.progress import State

DONE, REJECTED, USAGE, FAILED = (
    0,
    1,
    2,
    3,
)  # exit codes; a run that was stopped ends as its signal says (128 + its number)
FAILED_TOLD = 5
LEAST_FREE = 100_000  # bytes: below it the disk is full


def run(request: Request) -> int:
    """Restore a batch; the exit code.

    Raises:
        AudioRestorerError: it cannot begin: a wrong option, folders that overlap, another run in the same folder.
        OSError: the output folder cannot be written.
    """
    checked = plan(request)
    with child.locked(checked):
        results.check_report_place(checked)
        return _run(checked)


def _run(checked: Plan) -> int:
    began, state_file, log = time.monotonic(), checked.work / child.PROGRESS, child.new_log(checked.work)
    State("starting", message="the batch is planned").write(state_file)
    shown = screen()
    try:
        code = child.run(checked, log, lambda state: shown.show(state) if state else None)
    except child.Stopped as stop:
        shown.end()
        number = int(stop.args[0])
        State("failed", message="stopped").write(state_file)
        print("audiorestorer: stopped; the same command goes on where it was", file=sys.stderr)
        return 128 + number
    finally:
        shown.end()
    last = State.read(state_file) or State("starting")
    if code and last.state in ("starting", "failed"):  # no job has begun
        message = _one_line(last.message, log) if last.state == "failed" else child.error_in(log)
        State("failed", message=message).write(state_file)
        Result(USAGE, output=str(checked.output)).write(checked.work)
        raise AudioRestorerError(message)
    result = results.of_metrics(checked)
    result.seconds = round(time.monotonic() - began, 1)
    if code:
        return _failed(checked, log, result)
    return _finished(checked, log, result, is_idle=last.state == "starting")


def _one_line(message: str, log: Path) -> str:
    """A message of several lines by its first and its last, which says what to do; the log has all of it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return message if len(lines) < 2 else f"{lines[0].rstrip(':')}. {lines[-1]} All of them: {log}"


def _failed(checked: Plan, log: Path, result: Result) -> int:
    jobs = child.failed_jobs(checked, log)
    result.exit_code, result.failed = FAILED, jobs
    told = [f"{rule}: {reason or 'failed'}" for rule, reason in jobs[:FAILED_TOLD]]
    if shutil.disk_usage(checked.work).free < LEAST_FREE:
        told = [f"{checked.work}: no space left on the device: free some space"]  # the logs lie there, too, and are cut
    for line in told:
        print(f"audiorestorer: {line}", file=sys.stderr)
    message = f"{len(jobs) or 'some'} job{'' if len(jobs) == 1 else 's'} failed; log: {log}; mend the cause, {KEPT}"
    print(f"audiorestorer: {message}", file=sys.stderr)
    State("failed", message=message).write(checked.work / child.PROGRESS)
    result.write(checked.work)
    return FAILED


def _finished(checked: Plan, log: Path, result: Result, *, is_idle: bool) -> int:
    try:
        result.report_sha256 = results.place_report(checked, checked.work / child.MADE_REPORT)
    except OSError as error:
        return _without_report(checked, result, f"{as_text(str(checked.report))}: {error.strerror}")
    result.report = str(checked.report) if result.report_sha256 else None
    result.exit_code = REJECTED if checked.strict and result.rejected else DONE
    result.write(checked.work)
    state = "nothing_to_do" if is_idle else "done"
    State(state, "", result.files, result.files, 1.0, 0.0, _sentence(result)).write(checked.work / child.PROGRESS)
    if is_idle:
        print("nothing to do: the output folder is as this command makes it")
    for line in results.lines_of(result, checked, log):
        print(line)
    return result.exit_code


def _without_report(checked: Plan, result: Result, reason: str) -> int:
    """The recordings are restored, but the report could not be written to its place."""
    made = checked.work / child.MADE_REPORT
    message = f"the recordings are restored, but the report could not be written: {reason}; it lies in {made}"
    print(f"audiorestorer: {message}", file=sys.stderr)
    result.exit_code, result.failed = FAILED, [("report", reason)]
    result.write(checked.work)
    State("failed", message=message).write(checked.work / child.PROGRESS)
    return FAILED


def _sentence(result: Result) -> str:
    return f"{result.files} files were restored and {result.rejected} rejected"
