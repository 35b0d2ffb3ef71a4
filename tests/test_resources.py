"""What jobs ask for, against what was measured: the tables of docs/lab/performance.md."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from audiorestorer import resources
from audiorestorer.chain import CHAIN
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.metrics import groups
from audiorestorer.resources import Cost, Load

STAGE_COSTS = {stage.name: stage.cost for stage in CHAIN if stage.cost}
TEXT = (Path(__file__).parents[1] / "docs/lab/performance.md").read_text(encoding="utf-8")
CLIP_SEC, THREADS = 10, 2


def table(first: str) -> list[list[str]]:
    """The cells of the rows that begin with `| first`."""
    return [
        [cell.strip() for cell in line.strip("| \n").split("|")]
        for line in TEXT.splitlines()
        if re.match(rf"\| {first}", line)
    ]


def rendering(name: str) -> tuple[float, float, int]:
    """Seconds of audio, measured seconds, measured MB of a row of the first table."""
    (row,) = table(rf"{name} \|")
    return int(row[1]) * CLIP_SEC, float(row[3]), int(row[7])


def evaluation(names: Iterable[str]) -> Cost:
    return resources.one_after_the_other(groups.costs(names))


@pytest.mark.parametrize(
    ("row", "kind", "source"),
    [
        ("htdemucs_ft_float32", "demucs", "hf:htdemucs_ft"),
        ("mdx_extra_q_float32", "demucs", "hf:mdx_extra_q"),
        ("dns64", "dns64", "https://dl.fbaipublicfiles.com/adiyoss/denoiser"),
    ],
)
def test_a_network_s_first_attempt_covers_what_was_measured_and_not_much_more(row: str, kind: str, source: str):
    cost = resources.of_model(kind, source)
    audio, seconds, memory = rendering(row)
    assert (cost.channel + cost.file) * audio / THREADS == pytest.approx(seconds, rel=0.05)
    assert cost.memory_mb == pytest.approx(memory, rel=0.01)
    assert 1.2 * memory < cost.ask_mb(1) < 2 * memory
    hour = Load(3600, 3600)
    measured_minutes = seconds / audio * 60
    asked = cost.ask_minutes(hour, THREADS, 1)
    assert 3 * measured_minutes < asked < 10 * measured_minutes + resources.TIME_BASE_MIN


def test_every_stage_s_memory_covers_three_hours_of_stereo():
    rows = {row[0]: int(row[2]) for row in table(r"[a-z:]+ \| \d+ \| \d+ \|") if re.fullmatch(r"[\d.]+", row[3])}
    for stage in ("ingest", "fuse", "postmask", "loudness"):
        assert STAGE_COSTS[stage].ask_mb(1) > 1.5 * rows[stage]
    for group in ("loudness", "music", "signal", "pesq", "dnsmos"):
        assert groups.named(group).cost.ask_mb(1) > 1.5 * rows[f"evaluate:{group}"]
    for network in ("separate:a", "separate:b", "denoise"):
        assert resources.of_model("mask_network", "x").ask_mb(1) > 1.5 * rows[network]


def test_evaluation_covers_the_measured_core_seconds():
    rows = table(rf"({'|'.join(groups.known())})\b[^|]*\| \d+\.\d+ \| \d+% \|")
    assert len(rows) == 6
    for row in rows:
        group = row[0].split()[0]
        measured = float(row[1]) / CLIP_SEC
        assert measured <= groups.named(group).cost.channel <= max(0.01, 1.3 * measured)


def test_a_retry_asks_for_twice_as_much_and_a_longer_shard_for_more_time_alone():
    cost = Cost(1000, channel=1.0)
    assert [cost.ask_mb(attempt) for attempt in (1, 2, 3)] == [1800, 3600, 7200]
    short, long = Load(60, 60), Load(6000, 12000)
    base = resources.TIME_BASE_MIN
    assert [cost.ask_minutes(short, 4, attempt) for attempt in (1, 2, 3)] == [base + 1, 2 * (base + 1), 4 * (base + 1)]
    assert cost.ask_minutes(long, 4, 1) == base + 12000 * resources.TIME_MARGIN / 4 / 60
    assert Cost(1000, file=1.0).ask_minutes(long, 4, 1) == base + 6000 * resources.TIME_MARGIN / 4 / 60
    assert cost.ask_minutes(long, 1, 1) - base == 4 * (cost.ask_minutes(long, 4, 1) - base)


def test_an_unknown_network_counts_as_the_dearest_and_a_whole_bag_as_its_members():
    known = [resources.of_model(kind, "x") for kind in resources.BY_KIND]
    assert resources.of_model("mine", "x").memory_mb == max(cost.memory_mb for cost in known)
    one, bag = (resources.of_model("demucs", "hf:htdemucs_ft", whole_bag=whole) for whole in (False, True))
    assert bag.file == 4 * one.file and bag.memory_mb == 4 * one.memory_mb


def test_a_shard_s_load_is_its_usable_audio(tmp_path: Path):
    path = tmp_path / "0.jsonl"
    assert resources.load_of(path) == resources.UNKNOWN, "before ingest"
    rows = [
        Item(id="a", noisy="a.wav", duration=10.0, channels=2),
        Item(id="b", noisy="b.wav", duration=5.0, channels=1),
        Item(id="c", noisy="c.wav", duration=99.0, channels=1, status="rejected", reason="silent"),
    ]
    write_manifest(path, rows)
    assert resources.load_of(path) == Load(15.0, 25.0)
    write_manifest(path, rows[:1])
    assert resources.load_of(path) == Load(10.0, 20.0), "a new manifest is read anew"


def test_the_guide_s_table_is_what_is_asked_for():
    guide = (Path(__file__).parents[1] / "docs/cluster.md").read_text(encoding="utf-8")
    costs = {
        "separate, HTDemucs": (resources.HTDEMUCS, 4),
        "separate, MDX bag (or unknown)": (resources.MDX_BAG, 4),
        "separate or denoise, mask network": (resources.MASK_NETWORK, 4),
        "denoise, DNS64": (resources.DNS64, 4),
        "fuse, postmask, loudness": (STAGE_COSTS["fuse"], 1),
        "evaluate, without WER and PANNs": (evaluation(groups.known().keys() - {"wer", "panns"}), 1),
        "evaluate, all": (evaluation(groups.known()), 1),
    }
    for name, (cost, threads) in costs.items():
        assert f"| {name} | {cost.ask_mb(1)} | {cost.ask_minutes(resources.UNKNOWN, threads, 1)} |" in guide
