"""Is a training on degraded recordings healthy? One row per epoch on held-out items, and warnings for three patterns that are not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray

from audiorestorer.datasets.degradation.degradations import Degraded
from audiorestorer.datasets.mixtures import Mixer, MixtureDataset
from audiorestorer.datasets.real import RealRecordings
from audiorestorer.datasets.restoration import DegradationMixer, MixedRestorationDataset
from audiorestorer.files import write_csv
from audiorestorer.losses.consistency import consistency
from audiorestorer.losses.waveform import weighted
from audiorestorer.metrics import Missing
from audiorestorer.metrics.artefacts import impulse_removal, transient_preservation
from audiorestorer.training.running import rows_before
from audiorestorer.training.settings import TrainSettings
from audiorestorer.training.strategy_settings import MonitoringSettings

LOG = logging.getLogger(__name__)
SYNTHETIC, REAL = "synthetic_supervised_loss", "real_consistency_loss"
FIELDS = (
    "epoch",
    "step",
    SYNTHETIC,
    REAL,
    "synthetic_sample_ratio",
    "impulse_removal_rate",
    "transient_preservation",
    "warnings",
)
Curve = Sequence[tuple[float, float | None]]  # one per epoch: synthetic loss, real loss where there is one


def unhealthy(curve: Curve, settings: MonitoringSettings) -> dict[str, str]:
    """Patterns at the end of a curve, by name, each with what it may mean. They need `patience` + 1 epochs.

    `consistency rising`: the real loss has risen while the synthetic one has not: what is learnt does not carry over.
    `gap persisting`: of its first value, the real loss is left with more than the synthetic one of its own, and the difference has
    not shrunk. `plateau`: the best synthetic loss is hardly below the best of before.
    """
    span = settings.patience
    if len(curve) <= span:
        return {}
    patterns = {}
    synthetic = [values[0] for values in curve]
    best, before = min(synthetic[-span:]), min(synthetic[:-span])
    if best > before * (1 - settings.plateau):
        patterns["plateau"] = f"the synthetic loss has not fallen by {settings.plateau:.0%} in {span} epochs"
    real = [values[1] for values in curve if values[1] is not None]
    if len(real) < len(curve):
        return patterns
    if real[-1] > real[-1 - span] * (1 + settings.rise) and synthetic[-1] <= synthetic[-1 - span]:
        rise = real[-1] / max(real[-1 - span], 1e-12) - 1
        patterns["consistency rising"] = (
            f"by {rise:.0%} in {span} epochs, and the synthetic loss falls: it overfits the synthetic artefacts"
        )
    gaps = [r / max(real[0], 1e-12) - s / max(synthetic[0], 1e-12) for s, r in zip(synthetic, real, strict=True)]
    if min(gaps[-span:]) > settings.gap and gaps[-1] >= gaps[-1 - span]:
        patterns["gap persisting"] = (
            f"the real loss lags {gaps[-1]:.0%} behind the synthetic one: the synthetic artefacts are other ones"
        )
    return patterns


class Monitoring(lightning.Callback):
    """`monitoring.csv`, and a warning when a pattern begins (the row names all that last).

    The losses are those of the averaged network on fixed held-out items, so that epochs and strategies can be compared whatever was
    trained on: `losses` on synthetic examples of the valid split, consistency on crops of held-out real recordings.
    """

    def __init__(
        self,
        path: Path,
        mixer: Mixer,
        real: RealRecordings | None,
        dataset: MixtureDataset | MixedRestorationDataset,
        settings: TrainSettings,
    ) -> None:
        self.path, self.mixer, self.real, self.dataset, self.settings = path, mixer, real, dataset, settings

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        values = self._measured(pl_module)
        share = self.dataset.synthetic_share if isinstance(self.dataset, MixedRestorationDataset) else 1.0
        values["synthetic_sample_ratio"] = share
        for logger in trainer.loggers:
            logger.log_metrics({f"monitoring/{name}": value for name, value in values.items()}, trainer.global_step)
        epoch = trainer.current_epoch + 1
        earlier = rows_before(self.path, epoch, FIELDS)
        row: dict[str, Any] = {"epoch": epoch, "step": trainer.global_step}
        row |= {name: f"{value:.6f}" for name, value in values.items()}
        limits = self.settings.monitoring
        curve = [(float(old[SYNTHETIC]), float(old[REAL]) if old.get(REAL) else None) for old in [*earlier, row]]
        patterns, known = unhealthy(curve, limits), unhealthy(curve[:-1], limits)
        for name in patterns.keys() - known.keys():
            LOG.warning("epoch %d: %s: %s", epoch, name, patterns[name])
        write_csv(self.path, FIELDS, [*earlier, {**row, "warnings": "; ".join(sorted(patterns))}])

    def _measured(self, module: Any) -> dict[str, float]:
        """This epoch's figures, without those that no item has: means over the items; of artefacts, over all clicks and all onsets."""
        pairs_of: dict[str, list[tuple[float, int]]] = {}
        for index in range(self.settings.monitoring.items):
            example = self.mixer.example(0, index)
            output, loss = self._synthetic(module, example.mixture, example.target)
            pairs_of.setdefault(SYNTHETIC, []).append((loss, 1))
            if isinstance(self.mixer, DegradationMixer):
                degraded = self.mixer.degraded(0, index)
                for name, value in _artefacts(degraded, output[None], self.mixer.bank.sample_rate).items():
                    pairs_of.setdefault(name, []).append(value)
            if self.real is not None:
                crop = self.real.crop(self.mixer.seed, 0, index, self.mixer.length, "valid")
                pairs_of.setdefault(REAL, []).append((_consistency(module, crop), 1))
        return {
            name: sum(value * count for value, count in pairs) / sum(count for _, count in pairs)
            for name, pairs in pairs_of.items()
        }

    def _synthetic(
        self, module: Any, mixture: NDArray[np.float32], target: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float]:
        """Output `[T]` and loss of one example."""
        given, wanted = (torch.from_numpy(x)[None, None].to(module.device) for x in (mixture, target))
        rms = given.square().mean().sqrt().clamp_min(1e-6)
        with torch.no_grad():
            output = module.average(given).float()
            loss, _ = weighted(self.settings.losses, output / rms, wanted / rms, self.settings.network.sample_rate)
        return output[0, 0].cpu().numpy(), float(loss)


def _artefacts(degraded: Degraded, output: NDArray[np.float32], rate: int) -> dict[str, tuple[float, int]]:
    """(Share of the known clicks that is gone, their number), (share of the onsets that is left, their number): if there are any."""
    figures = {}
    try:
        widths = degraded.impulses.widths_sec
        removal = impulse_removal(degraded.target, degraded.noisy, output, degraded.impulses.starts, rate, widths)
        figures["impulse_removal_rate"] = (removal.rate, removal.counted)
    except Missing:
        pass
    try:
        kept = transient_preservation(degraded.target, output, rate)
        figures["transient_preservation"] = (kept.value, kept.onsets)
    except Missing:
        pass
    return figures


def _consistency(module: Any, crop: NDArray[np.float32]) -> float:
    given = torch.from_numpy(crop)[None, None].to(module.device)
    with torch.no_grad():
        given = given / given.square().mean().sqrt().clamp_min(1e-6)
        return float(consistency(module.average(given).float(), given))
