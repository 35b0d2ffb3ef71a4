from audiorestorer.progress import Work
from audiorestorer.report import runtime


def test_rates_are_sums_over_shards_by_stage_and_model():
    records = [
        Work("separate/a", "net", 10, 10, 10, audio_sec=100.0, work_sec=20.0, cpu_sec=40.0),
        Work("separate/a", "net", 10, 10, 5, audio_sec=50.0, work_sec=10.0, cpu_sec=10.0),
        Work("separate/a", "other", 10, 10, 10, audio_sec=10.0, work_sec=70.0, cpu_sec=70.0),
        Work("ingest", "", 3, 3, 3, audio_sec=0.0, work_sec=0.0, cpu_sec=0.0),
    ]
    rows = {(row["stage"], row["model"]): row for row in runtime.table(runtime.totals(records))}
    net = rows["separate/a", "net"]
    assert (net["items"], net["audio per wall second"], net["audio per CPU second"], net["share of wall time"]) == (
        "15", "5.0", "3.0", "30.0 %",
    )  # fmt: skip
    assert rows["separate/a", "other"]["audio per wall second"] == "0.1"
    assert rows["ingest", "–"]["audio per wall second"] == "–"
    assert list(rows)[0] == ("separate/a", "other")


def test_the_page_escapes_and_says_when_there_is_nothing():
    assert "<script>x" not in runtime.runtime_page([Work("<script>x", "m", computed=1)])
    assert "No job left a record" in runtime.runtime_page([])
