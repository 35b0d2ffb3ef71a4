"""The stages that run a network: the model, how it runs, and its items through the shard's loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from audiorestorer.config import DenoiseSettings, SeparatorSettings
from audiorestorer.devices import on_gpu, pick_device
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item
from audiorestorer.separators import Loaded, ModelFiles, Options, load, module_of
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, Stage
from audiorestorer.store import Entry

# settings that change no result beyond rounding; the model's weights are in the key
NO_KEY = {"enabled", "name", "model", "batch_size"}


def network_stage(
    name: str,
    config: SeparatorSettings | DenoiseSettings,
    model_json: Path | None,
    stems: tuple[str, ...],
    process: Callable[[Loaded, Item, Path], ItemResult],
    describe: Callable[[Entry, Item], Item],
    job: Job,
) -> Stage[Loaded]:
    """The stage of a network, to be given to `run_shard`.

    Args:
        name: folder in the store; its first part is the stage's module.

    Raises:
        AudioRestorerError: no fetched model, or one of an unknown kind.
    """
    module = name.partition("/")[0]
    if model_json is None:
        raise AudioRestorerError(
            f"{module}: --model is needed: make it with `audiorestorer fetch-model {config.model}`"
        )
    model = ModelFiles.read(model_json)

    def loaded() -> Loaded:
        options = Options(
            device=pick_device(job.device, job.threads),
            stems=stems,
            segment_sec=config.segment_sec,
            backend=config.backend,
            precision=config.precision,
            threads=job.threads,
            cache=job.store.parent / "compiled",
            batch_size=config.batch_size,
        )
        return load(model, options)

    return Stage(
        name=name,
        settings=config.model_dump(exclude=NO_KEY),
        code=code_digest(f"stages.{module}", module_of(model)),
        weights=model.digest,
        model=str(config.model),
        load=loaded,
        process=process,
        describe=describe,
        in_work=_in_work,
        joined=_joined,
    )


def _in_work(loaded: Loaded) -> int:
    """As many recordings as the network takes, or as a pass has rows; twice as many on a GPU, which must not wait for files."""
    if loaded.passes is None:
        return loaded.network.in_work
    return loaded.rows * (2 if on_gpu(loaded.network.device) else 1)


def _joined(loaded: Loaded) -> AbstractContextManager[Any]:
    return nullcontext() if loaded.passes is None else loaded.passes.member()
