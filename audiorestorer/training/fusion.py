"""The training of the fusion network (`models.fusion`): its settings, its examples and its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor

from audiorestorer.config import read_yaml, validate
from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.mixtures import Mixer, MixtureSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json, write_json
from audiorestorer.losses.waveform import known_losses, weighted
from audiorestorer.models.fusion import FusionConfig
from audiorestorer.models.fusion_net import FusionNet, load_checkpoint, save_checkpoint
from audiorestorer.models.weights import Storage
from audiorestorer.separators import ModelFiles, Options, load
from audiorestorer.store import key_of, sha256_file
from audiorestorer.training import running, runs
from audiorestorer.training.averaging import AveragedModule, EpochData
from audiorestorer.training.band_settings import BandNetworkSettings
from audiorestorer.training.fusion_examples import FusionExamples, write_examples
from audiorestorer.training.run_settings import RunSettings, changed
from audiorestorer.training.steps import adamw_with_cosine

MADE_WITH = "made_with.json"  # beside the examples


class FusionSettings(RunSettings):
    """One training of the fusion network."""

    unrecorded: ClassVar[dict[str, Any]] = {**RunSettings.unrecorded, "initial": True}

    initial: str | None = Field(
        None,
        description="Checkpoint of a fusion network of this shape and number of sources as the beginning; null: random weights",
    )
    sources: list[str] = Field(
        ["pilot_sep_a", "pilot_sep_b", "deepfilternet3"],
        min_length=1,
        max_length=8,
        description="Models of the registry whose estimates are fused, in this order",
    )
    examples: int = Field(2000, ge=2, le=10_000_000, description="Number of examples that are made")
    initial_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the initial weights in the saved ones (Wortsman et al. 2022, Model soups); the rest is the training's",
    )
    weight_decay: float = Field(1e-4, ge=0, le=10, description="Weight decay of AdamW")
    ema_decay: float = Field(
        0.99, ge=0, lt=1, description="Decay of the weights' moving average, which is what is saved"
    )
    storage: Storage = Field("float16", description="Number format of the weights in the model's file")
    mean_share: float = Field(
        0.0, ge=0, le=1, description="Share of the plain mean of the estimates in the weights of the saved network"
    )
    losses: dict[str, float] = Field(
        {"mr_stft": 2.0, "l1": 2.0, "si_sdr": 0.08, "stoi": 2.0},
        min_length=1,
        description="Weight of each loss, by name",
    )
    network: BandNetworkSettings = BandNetworkSettings()
    mixtures: MixtureSettings = MixtureSettings()

    _known = field_validator("losses")(known_losses)

    @property
    def config(self) -> FusionConfig:
        return FusionConfig(sources=tuple(self.sources), **self.network.model_dump())

    @property
    def made_with(self) -> dict[str, Any]:
        """What an example depends on, beside the recordings and the models."""
        return {"seed": self.seed, "rate": self.network.sample_rate, "mixtures": self.mixtures.model_dump(mode="json")}


def load_settings(path: Path, changes: Mapping[str, Any] | None = None) -> FusionSettings:
    """Read an experiment file.

    Raises:
        AudioRestorerError: unreadable, an unknown key, a value out of bounds; names the file and the key.
    """
    return validate(FusionSettings, changed(read_yaml(path), changes or {}), str(path))


def make_examples(
    settings: FusionSettings, data: Path, models: Sequence[Path], folder: Path, part: int = 0, of: int = 1
) -> None:
    """Write the examples; see `fusion_examples.write_examples`. What they were made with stands in the folder, and other examples
    are not mixed with them.

    Args:
        data: training audio with `index.jsonl`.
        models: records of the fetched models, in the order of `sources`.
        part, of: the numbers part, part + of, ... alone, for several processes.

    Raises:
        AudioRestorerError: bad data, the models are not those of the settings, or the folder holds examples made with others.
    """
    files = [ModelFiles.read(path) for path in models]
    names = [one.name for one in files]
    if names != settings.sources:
        raise AudioRestorerError(
            f"the models are {', '.join(names)}; the experiment's sources are {', '.join(settings.sources)}"
        )
    if not 0 <= part < of:
        raise AudioRestorerError(f"part {part} of {of}: parts count from 0")
    bank = AudioBank(data, folder.parent / "cache", settings.network.sample_rate)
    made_with = key_of(
        **settings.made_with, models=[one.digest for one in files], data=sha256_file(data / "index.jsonl")
    )
    if known_examples(folder) not in (None, made_with):
        raise AudioRestorerError(
            f"{folder}: holds examples of other settings, models or recordings; delete it to make them again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MADE_WITH, {"key": made_with})
    mixer = Mixer(bank, settings.mixtures, "separate", settings.seed)
    write_examples(mixer, [load(one, Options()) for one in files], settings.examples, folder, (part, of))


def known_examples(folder: Path) -> str | None:
    """What the examples of a folder were made with, as a key; None: there are none.

    Raises:
        AudioRestorerError: examples of which that is not known.
    """
    if (folder / MADE_WITH).is_file():
        return str(read_json(folder / MADE_WITH)["key"])
    if any(folder.glob("*.npy")):
        raise AudioRestorerError(f"{folder}: {MADE_WITH} is missing: nobody knows what its examples were made with")
    return None


class FusionModule(AveragedModule):
    """Trains the fusion network."""

    network: FusionNet
    average: FusionNet

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__(settings, FusionNet(settings.config))

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        """Loss of `[B, 2 + n, T]`: mixture, estimates, speech, all divided by the mixture's RMS."""
        with torch.autocast(batch.device.type, enabled=False):
            rms = batch[:, :1].square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-6)
            signals, target = (batch / rms).split([batch.shape[1] - 1, 1], dim=1)
            estimate = self.network(signals)
            loss, parts = weighted(self.settings.losses, estimate, target, self.settings.network.sample_rate)
        return self.told(loss, parts)

    def configure_optimizers(self) -> Any:
        return adamw_with_cosine(self.settings, self.trained(), self.settings.weight_decay)


def initial(settings: FusionSettings) -> FusionNet | None:
    """The network that the training begins with; None for random weights.

    Raises:
        AudioRestorerError: no checkpoint of a fusion network, or one of another shape.
    """
    if settings.initial is None:
        return None
    network = load_checkpoint(Path(settings.initial))
    wanted, same = settings.config, {"sources": (), "mean_share": 0.0}
    own = {**asdict(network.config), **same, "features": network.config.features}
    if own != {**asdict(wanted), **same, "features": wanted.features}:
        raise AudioRestorerError(f"{settings.initial}: a fusion network of another shape than the experiment's")
    return network


def fit(
    settings: FusionSettings,
    folder: Path,
    out: Path,
    work: Path,
    threads: int | None = None,
    stop_after: int | None = None,
) -> Path | None:
    """Train on a folder of examples and write one safetensors checkpoint, and beside it its record.

    Returns:
        `out`, or None when `stop_after` came first (see `running.run`).

    Raises:
        AudioRestorerError: no examples, or a beginning that does not fit (before anything is trained), or another process trains the
            same.
    """
    examples = FusionExamples(folder, settings.steps_per_epoch * settings.batch_size, settings.seed)
    inputs = {"examples": key_of(made_with=known_examples(folder), names=[path.name for path in examples.paths])}

    begin = initial(settings)
    if begin is not None:
        inputs["initial"] = sha256_file(Path(str(settings.initial)))

    def build(_: runs.RunFolder) -> running.Parts:
        module = FusionModule(settings)
        if begin is not None:
            module.begin_with(begin)
        return running.Parts(module, EpochData(examples, settings), [])

    def save(module: Any, card: dict[str, Any]) -> None:
        network = module.average
        if begin is not None:
            mixed = {
                name: value.lerp(begin.state_dict()[name], settings.initial_share)
                for name, value in network.state_dict().items()
            }
            network.load_state_dict(mixed)
        save_checkpoint(out, network, card, settings.storage, settings.mean_share)

    return running.run(settings, inputs, build, save, out, work, threads, stop_after)
