"""What a run says of itself, from records on disk with known times."""

import os
from pathlib import Path

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.progress import Job, Run, Work, every_sec, read, records, watch, work_file


def touch(path: Path, when: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text("\n")
    os.utime(path, (when, when))


def test_records_come_back_and_broken_ones_do_not_count(tmp_path):
    work = Work("separate/a", "net", 10, 4, 3, 12.5, 1.0, 2.0, 4.0)
    path = work_file(tmp_path / "manifests/separate/a/3.jsonl")
    work.write(path)
    assert path.name == "3.work.json" and read(path) == work
    (path.parent / "4.work.json").write_text('{"stage": ')
    (path.parent / "5.work.json").write_text('{"items": 3}')
    assert records(tmp_path) == [work]


def test_line_gives_rate_time_left_and_shares(tmp_path):
    """Stage a: 1 s an item, 10 of 20 done; stage b: 3 s an item, 5 of 20. One job at a time: 10 s and 45 s are left."""
    start = 1_000_000.0
    jobs = [Job(tmp_path / stage / f"{shard}.jsonl", stage, 10) for stage in "ab" for shard in range(2)]
    touch(jobs[0].manifest, start + 10)
    for job, work in (
        (jobs[0], Work("a", "", 10, 10, 10, work_sec=10.0)),
        (jobs[2], Work("b", "", 10, 5, 5, work_sec=15.0)),
    ):
        work.write(work_file(job.manifest))
        touch(work_file(job.manifest), start + 20)
    text = Run(jobs, start).line(start + 25)
    assert text == "progress: 8 of 20 items, 0.30 a second, about 55 s left; time: b 60 %, a 40 %"


def test_what_lay_there_before_the_run_does_not_count(tmp_path):
    job = Job(tmp_path / "a/0.jsonl", "a", 10)
    Work("a", "", 10, 10, 10, work_sec=99.0).write(work_file(job.manifest))
    for path in (job.manifest, work_file(job.manifest)):
        touch(path, 1000.0)
    assert Run([job], 2000.0).line(2010.0) == "progress: 0 of 10 items, 0.00 a second"


def test_a_stage_of_several_records_is_done_with_the_last(tmp_path):
    job = Job(tmp_path / "evaluate/0.jsonl", "evaluate", 10, parts=4)
    for part in ("loudness", "wer-noisy"):
        Work("evaluate/x", "", 10, 10, 10, work_sec=1.0).write(work_file(job.manifest, part))
    assert Run([job], 0.0).line(10.0).startswith("progress: 5 of 10 items")


def test_shards_whose_numbers_begin_alike_are_kept_apart(tmp_path):
    job = Job(tmp_path / "a/1.jsonl", "a", 10)
    Work("a", "", 10, 10, 10, work_sec=1.0).write(work_file(tmp_path / "a/11.jsonl"))
    assert Run([job], 0.0).line(1.0).startswith("progress: 0 of 10")


def test_watch_says_a_last_line_once_and_nothing_of_nothing(tmp_path):
    said: list[str] = []
    stop = watch([Job(tmp_path / "a/0.jsonl", "a", 10)], 0, said.append)
    stop()
    stop()
    assert len(said) == 1
    watch([], 0.01, said.append)()
    assert len(said) == 1


def test_the_variable_is_seconds_or_an_error():
    found = [every_sec({"AUDIORESTORER_PROGRESS": text} if text is not None else {}) for text in (None, "", "0", "2.5")]
    assert found == [30, 30, 0, 2.5]
    for text in ("abc", "-1", "nan", "inf", "1e300"):
        with pytest.raises(AudioRestorerError, match=f"AUDIORESTORER_PROGRESS: '{text}' is no number of seconds"):
            every_sec({"AUDIORESTORER_PROGRESS": text})
