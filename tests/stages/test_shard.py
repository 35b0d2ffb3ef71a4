import threading
from contextlib import contextmanager

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.shard import ItemResult, RejectItem, Stage, StageFailed, run_shard


class Bench:
    """A stage that counts what it does."""

    def __init__(self, trouble=None):
        self.loads, self.processed, self.trouble = 0, [], trouble or {}

    def stage(self, **changes):
        def load():
            self.loads += 1
            return "model"

        def process(worker, item, scratch):
            assert worker == "model"
            self.processed.append(item.id)
            if item.id in self.trouble:
                raise self.trouble[item.id]
            (scratch / "o").write_text(item.id)
            return ItemResult({"o.txt": scratch / "o"}, {"frames": len(item.id)})

        def describe(entry, item):
            return item.updated(path=str(entry.files["o.txt"]), sha256=entry.sha256["o.txt"], **entry.row)

        return Stage(**{"name": "s", "settings": {"a": 1}, "code": "c", "load": load, "process": process,
                        "describe": describe, **changes})  # fmt: skip


def items(*names):
    return [Item(id=name, noisy=f"{name}.wav", sha256=name) for name in names]


def run(bench, rows, tmp_path, **changes):
    return run_shard(bench.stage(**changes), rows, tmp_path / "out.jsonl", tmp_path / "store")


def test_nothing_is_computed_twice_and_no_model_is_loaded_for_nothing(tmp_path):
    bench = Bench()
    first = run(bench, items("a", "b"), tmp_path)
    assert bench.processed == ["a", "b"] and bench.loads == 1
    assert run(bench, items("a", "b"), tmp_path) == first and bench.loads == 1
    run(bench, items("a", "b", "c"), tmp_path)
    assert bench.processed == ["a", "b", "c"]


@pytest.mark.parametrize("changes", [{"settings": {"a": 2}}, {"code": "d"}, {"weights": "w"}])
def test_settings_code_and_weights_make_an_item_stale_and_back_is_instant(tmp_path, changes):
    bench = Bench()
    run(bench, items("a"), tmp_path)
    run(bench, items("a"), tmp_path, **changes)
    assert bench.processed == ["a", "a"]
    run(bench, items("a"), tmp_path)
    assert bench.processed == ["a", "a"]


def test_rejected_rows_are_passed_on_with_their_reason(tmp_path):
    bench = Bench({"b": RejectItem("six channels")})
    run(bench, [*items("a", "b"), Item(id="c", noisy="c.wav").rejected("empty")], tmp_path)
    rows = {row.id: row for row in read_manifest(tmp_path / "out.jsonl")}
    assert rows["a"].ok and rows["b"].reason == "s: six channels" and rows["c"].reason == "empty"
    assert bench.processed == ["a", "b"]


def test_an_unforeseen_error_names_the_item_and_keeps_the_others(tmp_path, capfd):
    bench = Bench({"b": ZeroDivisionError("x")})
    with pytest.raises(StageFailed, match=r"1 of 3 items failed.*\n.*b \(b\.wav\): ZeroDivisionError: x") as caught:
        run(bench, items("a", "b", "c"), tmp_path)
    assert isinstance(caught.value, AudioRestorerError)
    assert not (tmp_path / "out.jsonl").exists()
    bench.trouble = {}
    run(bench, items("a", "b", "c"), tmp_path)
    assert bench.processed == ["a", "b", "c", "b"]
    assert "3/3 items (2 in store, 1 computed" in capfd.readouterr().err.replace(
        "1 computed, 2 in store", "2 in store, 1 computed"
    )


def test_items_in_threads_end_in_the_same_manifest(tmp_path):
    bench = Bench({"c": RejectItem("bad"), "e": ZeroDivisionError("x")})
    rows = [item.updated(duration=10.0 - number) for number, item in enumerate(items("a", "b", "c", "d"))]
    joined, lock = [], threading.Lock()

    @contextmanager
    def join(worker):
        with lock:
            joined.append(worker)
        yield

    run(bench, rows, tmp_path, in_work=lambda worker: 3, joined=join)
    threaded = (tmp_path / "out.jsonl").read_text()
    assert joined == ["model"] * 3 and bench.loads == 1 and sorted(bench.processed) == ["a", "b", "c", "d"]
    run(Bench({"c": RejectItem("bad")}), rows, tmp_path)
    assert (tmp_path / "out.jsonl").read_text() == threaded
    with pytest.raises(StageFailed, match="1 of 5 items failed"):
        run(bench, [*rows, *items("e")], tmp_path, in_work=lambda worker: 3)


def test_equal_content_is_computed_once(tmp_path):
    bench = Bench()
    rows = [items("a")[0], items("b")[0].updated(sha256="a")]
    made = run(bench, rows, tmp_path)
    assert bench.processed == ["a"] and made[0].path == made[1].path and [row.id for row in made] == ["a", "b"]
