"""evaluate: measure each finished file. Each group of metrics of an item is an entry of its own in the store, so that adding a group,
or changing the code of one, computes only that."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from audiorestorer.config import EvaluateSettings
from audiorestorer.digest import code_digest
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.metrics.files import Files
from audiorestorer.stages.shard import Made, Stage, run_items

# Groups that need a model which this version does not run yet: absent, with the reason, never zero.
ABSENT = {
    "wer": (("wer_in", "wer", "wer_clean"), "no speech recogniser in this version"),
    "panns": (("music_presence_in", "music_presence"), "no PANNs tagger in this version"),
}


def _inputs(item: Item) -> Any:
    return [item.sha256, item.noisy_sha256, item.clean_sha256]


def measure_group(group: str, items: list[Item], store: Path) -> list[Item]:
    """The items with the group's figures added to the fields `metrics` and `missing`."""
    module = f"metrics.group_{group}"

    def process(compute: Any, item: Item, _: Path) -> Made:
        values, missing = compute(Files(item.noisy, item.path or "", item.clean))
        return Made({}, {"metrics": values, "missing": missing})

    stage: Stage[Any] = Stage(
        name=f"evaluate/{group}",
        settings=None,
        code=code_digest(module),
        load=lambda: import_module(f"audiorestorer.{module}").compute,
        process=process,
        describe=lambda entry, item: _merged(item, entry.row),
        inputs=_inputs,
    )
    return run_items(stage, items, store)


def _merged(item: Item, row: dict[str, Any]) -> Item:
    return item.updated(**{name: {**(item.field(name) or {}), **row[name]} for name in ("metrics", "missing")})


def run(in_manifest: Path, out_manifest: Path, config: EvaluateSettings, store: Path) -> None:
    """Measure a shard, group by group."""
    items = read_manifest(in_manifest)
    for group in config.metrics:
        if group in ABSENT:
            names, reason = ABSENT[group]
            row = {"metrics": {}, "missing": dict.fromkeys(names, reason)}
            items = [_merged(item, row) if item.ok else item for item in items]
        else:
            items = measure_group(group, items, store)
    write_manifest(out_manifest, items)
