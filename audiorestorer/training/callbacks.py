"""The logs that a mask network's run writes beside its model: triads to listen to, an audit of its data, figures on held-out items."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray

from audiorestorer.datasets.levels import active_mask
from audiorestorer.datasets.mixtures import Example, Mixer
from audiorestorer.files import write_csv
from audiorestorer.metrics import triads
from audiorestorer.metrics.meter import Meter
from audiorestorer.models.mask_unet import MaskUNet
from audiorestorer.training.running import due, epoch_name, rows_before
from audiorestorer.training.settings import AudioDebugSettings, DataAuditSettings, PerceptualEvalSettings

LOG = logging.getLogger(__name__)
AUDIT_FIELDS = ("index", "snr_db", "silence_share", "mixture_dbfs", "too_clean", "silent")
PERCEPTUAL_FIELDS = (
    "si_sdr_in_db",
    "si_sdr_db",
    "si_sdr_improvement_db",
    "lsd_in_db",
    "lsd_db",
    "residual_ratio",
    "composite",
    "stoi_in",
    "stoi",
)


class DataAudit(lightning.Callback):
    """`epXXX/audit.csv`: SNR, silence and level of the epoch's first examples; a warning where too many are too clean or silent."""

    def __init__(self, folder: Path, mixer: Mixer, settings: DataAuditSettings, repeat: int = 0) -> None:
        self.folder, self.mixer, self.settings, self.repeat = folder, mixer, settings, repeat

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epoch = trainer.current_epoch
        if not self.settings.every_epochs or epoch % self.settings.every_epochs or not trainer.is_global_zero:
            return
        rows = [self._row(0 if self.repeat else epoch, index) for index in range(self.repeat or self.settings.items)]
        path = self.folder / epoch_name(epoch + 1) / "audit.csv"
        write_csv(path, AUDIT_FIELDS, rows)
        for name, meaning in (
            ("too_clean", f"above {self.settings.clean_snr_db:g} dB SNR"),
            ("silent", f"{self.settings.silence_share:.0%} silent or more"),
        ):
            share = sum(row[name] for row in rows) / len(rows)
            if share > self.settings.warn_share:
                LOG.warning("%s: %.0f %% of the examples are %s", path, 100 * share, meaning)

    def _row(self, epoch: int, index: int) -> dict[str, Any]:
        example = self.mixer.example(epoch, index)
        silence = 1 - float(active_mask(example.target, self.mixer.bank.sample_rate).mean())
        power = float(np.mean(np.square(example.mixture, dtype=np.float64)))
        # without interference there is no SNR to state, but the example is as clean as can be
        clean = bool(np.array_equal(example.mixture, example.target)) or example.snr_db > self.settings.clean_snr_db
        return {
            "index": index,
            "snr_db": round(example.snr_db, 3) if np.isfinite(example.snr_db) else "",
            "silence_share": round(silence, 4),
            "mixture_dbfs": round(10 * np.log10(power), 2) if power > 0 else "",
            "too_clean": int(clean),
            "silent": int(silence >= self.settings.silence_share),
        }


class _OnHeldOut(lightning.Callback):
    """Runs the averaged network on the first items of a held-out mixer."""

    def __init__(self, mixer: Mixer) -> None:
        self.mixer = mixer

    def outputs(self, module: Any, count: int) -> Iterator[tuple[int, Example, NDArray[np.float32]]]:
        """(index, example, output `[T]`) of each item."""
        network: MaskUNet = module.average
        for index in range(count):
            example = self.mixer.example(0, index)
            with torch.no_grad():
                mixture = torch.from_numpy(example.mixture)[None, None].to(module.device)
                yield index, example, network(mixture)[0, 0].float().cpu().numpy()


class AudioDebug(_OnHeldOut):
    """Triads `epXXX/<id>_{noisy,yhat,clean}.wav` of the same items each time."""

    def __init__(self, folder: Path, mixer: Mixer, settings: AudioDebugSettings) -> None:
        super().__init__(mixer)
        self.folder, self.settings = folder, settings

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if due(trainer, self.settings.every_epochs):
            folder = self.folder / epoch_name(trainer.current_epoch + 1)
            for index, example, output in self.outputs(pl_module, self.settings.items):
                signals = (example.mixture[None], output[None], example.target[None])
                triads.write(folder, f"item{index:02d}", *signals, self.mixer.bank.sample_rate)


class PerceptualEval(_OnHeldOut):
    """`perceptual.csv`: one row per epoch, medians over the items; a figure that no item has is left empty."""

    def __init__(self, path: Path, mixer: Mixer, settings: PerceptualEvalSettings) -> None:
        super().__init__(mixer)
        self.path, self.settings = path, settings

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not due(trainer, self.settings.every_epochs):
            return
        figures_of: dict[str, list[float]] = {name: [] for name in PERCEPTUAL_FIELDS}
        rate = self.mixer.bank.sample_rate
        meter = Meter(PERCEPTUAL_FIELDS)
        for _, example, output in self.outputs(pl_module, self.settings.items):
            values = meter(output[None], example.target[None], rate, example.mixture[None]).values
            if not {"stoi_in", "stoi"} <= values.keys():  # the medians of both are over the same items
                values = {name: value for name, value in values.items() if name not in ("stoi_in", "stoi")}
            for name in PERCEPTUAL_FIELDS:
                figures_of[name] += [values[name]] if name in values else []
        medians = {name: statistics.median(values) for name, values in figures_of.items() if values}
        for logger in trainer.loggers:
            logger.log_metrics({f"valid/{name}": value for name, value in medians.items()}, trainer.global_step)
        epoch = trainer.current_epoch + 1
        row: dict[str, Any] = {"epoch": epoch, "step": trainer.global_step, "items": self.settings.items}
        row |= {name: f"{value:.4f}" for name, value in medians.items()}
        fields = ("epoch", "step", "items", *PERCEPTUAL_FIELDS)
        write_csv(self.path, fields, [*rows_before(self.path, epoch, fields), row])
