"""The eight sanity checks of the training half: each gives a figure, the threshold it is held against, and green or red.

They run on a manifest (and a noise manifest), or, without any data, on generated audio. `docs/sanity_check_playbook.md` says what
each red light means. The short form takes about a minute on two cores at any rate: its network sees the same number of frames per
second and of bands at 8 kHz and at 96 kHz. Nothing is kept but the report.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from audiorestorer import audio
from audiorestorer.datasets.levels import snr_db
from audiorestorer.datasets.manifest_mixer import ManifestBank, ManifestMixer
from audiorestorer.datasets.mixtures import MixtureSettings
from audiorestorer.datasets.training_manifest import NoiseRow, Row, check_manifest, check_noise_manifest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, read_json, write_csv
from audiorestorer.losses.waveform import LOSSES, weighted
from audiorestorer.metrics import triads
from audiorestorer.metrics.files import Signals
from audiorestorer.metrics.groups.signal import GROUP as SIGNAL
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint
from audiorestorer.training import runs
from audiorestorer.training.data import Data
from audiorestorer.training.fit import fit
from audiorestorer.training.settings import TrainSettings, load_settings

SEED = 4
SNR_RANGE_DB = (-2.0, 20.0)
SNR_EXAMPLES = 200
SNR_DISTANCE = 0.115  # Kolmogorov-Smirnov at 200 examples: a uniform draw is above it once in a hundred times
ROUND_TRIP_DB = 0.1
ROUND_TRIP_EXAMPLES = 40
STFT_DB = -100.0  # of the reconstruction's error, relative to the signal: float32
NOISE_CLASSES = 3  # fewer than these and a denoiser learns one noise
LIGHT = {"channels": [16, 24, 32], "time_strides": [1, 2, 2], "bottleneck": "gru", "rnn_hidden": 64}
# Both parts in every mixture, and no low-pass, which would take different shares of the two
PLAIN = {"pure_speech": 0.0, "no_speech": 0.0, "band_limit": 0.0}
WINDOW_SEC = 0.023  # of the short form's network
BANDS = 64  # that the short form's network has at any rate: neighbouring bins are folded


@dataclass(frozen=True)
class Overfit:
    """How much is learned by heart, and how much is enough. The figures behind the thresholds are in the playbook."""

    steps: int
    segment_sec: float
    ema_decay: float
    least_gain_db: float


SHORT = Overfit(steps=60, segment_sec=1.0, ema_decay=0.9, least_gain_db=2.0)
LONG = Overfit(steps=300, segment_sec=1.5, ema_decay=0.95, least_gain_db=1.0)


@dataclass(frozen=True)
class Check:
    """One light. `figure` is None where the check broke before it had one; `detail` says what was looked at, or what broke."""

    name: str
    ok: bool
    figure: float | None
    threshold: float
    unit: str
    detail: str


@dataclass(frozen=True)
class Subject:
    """The data that are checked, at a rate, and how thoroughly.

    `long`: the micro overfit of `denoiser_overfit.yaml`, by `threads` threads; else the short form.
    """

    manifest: Path
    noise: Path | None
    sample_rate: int
    mono: bool
    work: Path
    long: bool = False
    threads: int = 1


def run_checks(subject: Subject, say: Callable[[str], None] = print) -> list[Check]:
    """All eight, in order; one that breaks is red with its reason and the rest go on."""
    checks = []
    for number, (name, check) in enumerate(CHECKS.items(), 1):
        say(f"{number}/{len(CHECKS)} {name} ...")
        try:
            result = check(subject)
        except AudioRestorerError as error:
            result = Check(name, False, None, 0.0, "", str(error))
        except Exception as error:  # the suite must reach its end: what is not foreseen is what it is there to find
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            result = Check(name, False, None, 0.0, "", f"{type(error).__name__}: {error} ({where})")
        checks.append(result)
        figure = "-" if result.figure is None else f"{result.figure:.4g} {result.unit}"
        say(
            f"    {'green' if result.ok else 'RED'}: {figure} (threshold {result.threshold:g} {result.unit}) {result.detail}"
        )
    return checks


def manifest_check(subject: Subject) -> Check:
    """Schema, paths, rates, lengths, samples; no content in two splits."""
    rows = _rows(subject)
    noises = check_noise_manifest(subject.noise) if subject.noise else []
    if subject.mono:
        wide = [row.id for row in rows if audio.probe(row.clean_path(subject.manifest.parent)).channels != 1]
        if wide:
            raise AudioRestorerError(f"{subject.manifest}: {len(wide)} recordings are not mono, first {wide[0]}")
    places: dict[str, set[str]] = {}
    for row in rows:
        for key in filter(None, (row.sha256, row.track, row.speaker and f"speaker {row.speaker}")):
            places.setdefault(str(key), set()).add(row.split)
    leaks = sorted(key for key, splits in places.items() if len(splits) > 1)
    detail = f"{len(rows)} recordings, {len(noises)} noises; in two splits: {', '.join(leaks[:3]) or 'nothing'}"
    return Check("manifest", not leaks, float(len(leaks)), 0.0, "leaks", detail)


def noise_check(subject: Subject) -> Check:
    """Classes that the kept noises cover."""
    rows = check_noise_manifest(subject.noise) if subject.noise else []
    classes = Counter(row.noise_class for row in rows)
    detail = (
        ", ".join(f"{name} {count}" for name, count in sorted(classes.items()))
        or "no noise manifest: procedural noise only"
    )
    ok = len(classes) >= NOISE_CLASSES or subject.noise is None
    return Check("noise coverage", ok, float(len(classes)), float(NOISE_CLASSES), "classes", detail)


def snr_check(subject: Subject) -> Check:
    """The mixer's SNRs against the uniform distribution that was asked for."""
    mixer = _mixer(subject, snr_db=SNR_RANGE_DB)
    levels = np.array([mixer.example(0, index).snr_db for index in range(SNR_EXAMPLES)])
    levels = levels[np.isfinite(levels)]
    if len(levels) < SNR_EXAMPLES // 2:
        raise AudioRestorerError(
            f"only {len(levels)} of {SNR_EXAMPLES} examples have an SNR: the recordings are too silent"
        )
    distance = float(stats.kstest(levels, "uniform", (SNR_RANGE_DB[0], SNR_RANGE_DB[1] - SNR_RANGE_DB[0])).statistic)
    # pairs bring their own SNR: nothing was asked of them
    pairs = any(row.noisy for row in _rows(subject))
    q25, q50, q75 = np.percentile(levels, [25, 50, 75])
    detail = f"quartiles {q25:.1f}, {q50:.1f}, {q75:.1f} dB of {SNR_RANGE_DB[0]:g}..{SNR_RANGE_DB[1]:g}" + (
        "; has pairs, whose SNR is their own" if pairs else ""
    )
    return Check("SNR distribution", pairs or distance <= SNR_DISTANCE, distance, SNR_DISTANCE, "KS distance", detail)


def round_trip_check(subject: Subject) -> Check:
    """The SNR measured back from mixture and target is the one that the example states."""
    mixer = _mixer(subject, snr_db=SNR_RANGE_DB)
    worst, counted = 0.0, 0
    for index in range(ROUND_TRIP_EXAMPLES):
        example = mixer.example(1, index)
        if math.isfinite(example.snr_db):
            measured = snr_db(example.target, example.mixture - example.target, subject.sample_rate)
            worst, counted = max(worst, abs(measured - example.snr_db)), counted + 1
    if not counted:
        raise AudioRestorerError("no example has an SNR")
    return Check("mixer round trip", worst <= ROUND_TRIP_DB, worst, ROUND_TRIP_DB, "dB", f"worst of {counted} examples")


def stft_check(subject: Subject) -> Check:
    """The network's own STFT and inverse, with a mask of one: nothing is lost."""
    network = MaskUNet(MaskUNetConfig(sample_rate=subject.sample_rate)).eval()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.head.bias, 40.0)  # type: ignore[arg-type]  # sigmoid(40) is 1 in float32
    signal = torch.from_numpy(_mixer(subject).example(2, 0).mixture)[None, None]
    with torch.no_grad():
        error = network(signal) - signal
    level = float(10 * torch.log10(error.square().sum() / signal.square().sum().clamp_min(1e-20) + 1e-20))
    return Check("STFT and inverse", level <= STFT_DB, level, STFT_DB, "dB", f"{signal.shape[-1]} samples")


def loss_check(subject: Subject) -> Check:
    """Every loss is positive, and lowest at the target; four examples can be learned by heart."""
    example = _mixer(subject, snr_db=(0.0, 5.0)).example(3, 0)
    mixture, target = (
        torch.from_numpy(x)[None, None] / max(float(np.abs(x).max()), 1e-6) for x in (example.mixture, example.target)
    )
    for name in LOSSES:
        at_mixture, at_target = (
            float(weighted({name: 1.0}, estimate, target, subject.sample_rate)[0]) for estimate in (mixture, target)
        )
        if not (at_mixture > 0 and 0 <= at_target < at_mixture):
            raise AudioRestorerError(
                f"loss {name}: {at_mixture:.4g} of the mixture, {at_target:.4g} of the target itself"
            )
    form = LONG if subject.long else SHORT
    settings = _settings(
        subject,
        "sanity_overfit",
        steps=form.steps,
        steps_per_epoch=form.steps // 3,
        batch_size=4,
        overfit_items=4,
        ema_decay=form.ema_decay,
        workers=0,
        mixtures={**PLAIN, "segment_sec": form.segment_sec, "snr_db": [0, 5], "resample": True},
        perceptual_eval={"every_epochs": 3, "items": 4, "seconds": form.segment_sec},
    )
    folder = _train(subject, settings)
    figures = read_csv(folder.logs / "perceptual.csv")[-1]
    if not figures["si_sdr_improvement_db"]:
        raise AudioRestorerError("no item has an SI-SDR")
    gain = float(figures["si_sdr_improvement_db"])
    detail = f"4 examples, {form.steps} steps"
    name, unit = "losses and micro overfit", "dB delta SI"
    return Check(name, gain > form.least_gain_db, gain, form.least_gain_db, unit, detail)


def callback_check(subject: Subject) -> Check:
    """One short epoch with every callback: what they write is there and can be read."""
    settings = _settings(
        subject,
        "sanity_callbacks",
        steps=2,
        steps_per_epoch=2,
        batch_size=2,
        audio_debug={"every_epochs": 1, "items": 2, "seconds": 1.0},
        data_audit={"every_epochs": 1, "items": 4},
        perceptual_eval={"every_epochs": 1, "items": 2, "seconds": 1.0},
        mixtures={"segment_sec": 1.0, "resample": True},
    )
    folder = _train(subject, settings)
    wanted = [folder.debug / "ep001" / f"item0{item}_{part}.wav" for item in (0, 1) for part in triads.PARTS]
    wanted += [
        folder.audit / "ep001" / "audit.csv",
        folder.logs / "perceptual.csv",
        folder.logs / "loss.csv",
        folder.checkpoint,
    ]
    absent = [path for path in wanted if not path.is_file() or not path.stat().st_size]
    for path in wanted[:6]:
        audio.read(path)
    detail = f"absent: {', '.join(map(str, absent))}" if absent else "triads, audit, figures, losses, checkpoint"
    return Check("callbacks", not absent, float(len(wanted) - len(absent)), float(len(wanted)), "files", detail)


def tiny_epoch_check(subject: Subject) -> Check:
    """Train a tiny epoch, load the checkpoint, run it over held-out examples, write their figures as CSV and read them back."""
    settings = _settings(
        subject,
        "sanity_epoch",
        steps=10,
        steps_per_epoch=5,
        batch_size=2,
        mixtures={"segment_sec": 1.0, "resample": True},
    )
    _train(subject, settings)
    network, _ = load_checkpoint(subject.work / f"{settings.name}.safetensors")
    mixer = _mixer(subject, snr_db=(0.0, 10.0), split="valid")
    rows: list[dict[str, Any]] = []
    for index in range(3):
        example = mixer.example(0, index)
        with torch.no_grad():
            output = network(torch.from_numpy(example.mixture)[None, None])[0, 0].numpy()
        signals = Signals(example.mixture[None], output[None], example.target[None], subject.sample_rate)
        rows.append({"id": index, **SIGNAL.measure(signals).values})
    table = subject.work / "tiny_epoch.csv"
    write_csv(table, tuple(dict.fromkeys(name for row in rows for name in row)), rows)
    lines = table.read_text(encoding="utf-8").splitlines()[1:]
    complete = sum("" not in line.split(",") for line in lines)
    return Check(
        "tiny epoch and CSV", complete == 3, float(complete), 3.0, "complete rows", "10 steps, 3 held-out examples"
    )


CHECKS: dict[str, Callable[[Subject], Check]] = {
    "manifest": manifest_check,
    "noise coverage": noise_check,
    "SNR distribution": snr_check,
    "mixer round trip": round_trip_check,
    "STFT and inverse": stft_check,
    "losses and micro overfit": loss_check,
    "callbacks": callback_check,
    "tiny epoch and CSV": tiny_epoch_check,
}


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """The content of `sanity.json`."""
    return {"ok": all(check.ok for check in checks), "checks": [asdict(check) for check in checks]}


def _rows(subject: Subject) -> list[Row]:
    return check_manifest(subject.manifest, sample_rate=subject.sample_rate)


def _mixer(subject: Subject, *, snr_db: tuple[float, float] = (0.0, 20.0), split: str = "train") -> ManifestMixer:
    """A mixer of plain mixtures."""
    noises: list[NoiseRow] = check_noise_manifest(subject.noise) if subject.noise else []
    base = subject.noise.parent if subject.noise else None
    bank = ManifestBank(_rows(subject), subject.manifest.parent, subject.sample_rate, noises, base)
    settings = MixtureSettings(segment_sec=2.0, snr_db=snr_db, **PLAIN)
    return ManifestMixer(bank, settings, "denoise", SEED, split)


def _settings(subject: Subject, name: str, **changes: Any) -> TrainSettings:
    network = {**LIGHT, "sample_rate": subject.sample_rate}
    if not subject.long:
        n_fft = 2 ** round(math.log2(WINDOW_SEC * subject.sample_rate))
        network |= {"n_fft": n_fft, "hop_length": n_fft // 2, "frequency_fold": n_fft // 2 // BANDS}
        # half precision is slow on a CPU that has to emulate it
        changes["precision"] = "32-true"
    common = {"name": name, "task": "denoise", "seed": SEED, "warmup_steps": 5}
    return load_settings({**common, "network": network, **changes})


def _train(subject: Subject, settings: TrainSettings) -> runs.RunFolder:
    data = Data(manifest=subject.manifest, noise=subject.noise)
    out = subject.work / f"{settings.name}.safetensors"
    fit(settings, data, out, subject.work / "runs", subject.threads)
    return runs.RunFolder(Path(read_json(out.with_suffix(".json"))["run"]))
