"""What the stages that run a network share: the model, how it runs, and its items through the shard's loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from audiorestorer.config import DenoiseSettings, SeparatorSettings
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item
from audiorestorer.separators import ModelFiles, Options, Separator, load, module_of, on_gpu, pick_device
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import Made, Stage
from audiorestorer.store import Entry

NO_KEY = {"name", "model", "batch_size"}  # they change no result beyond rounding; the model's weights are in the key


def network_stage(
    name: str,
    config: SeparatorSettings | DenoiseSettings,
    model_json: Path | None,
    stems: tuple[str, ...],
    process: Callable[[Separator, Item, Path], Made],
    describe: Callable[[Entry, Item], Item],
    job: Job,
) -> Stage[Separator]:
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

    def loaded() -> Separator:
        options = Options(
            pick_device(job.device, job.threads), stems, config.segment_sec, config.backend, config.precision, job.threads,
            job.store.parent / "compiled", config.batch_size,
        )  # fmt: skip
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


def _in_work(network: Separator) -> int:
    """As many recordings as a pass has rows; twice as many on a GPU, which must not wait for files."""
    if network.crew is None:
        return 1
    return network.crew.rows * (2 if on_gpu(network.device) else 1)


def _joined(network: Separator) -> AbstractContextManager[Any]:
    return nullcontext() if network.crew is None else network.crew.member()
