"""Training: it learns, and a run that was interrupted ends with the same bytes as one that was not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.mixtures import Mixer
from audiorestorer.errors import AudioRestorerError
from audiorestorer.losses.waveform import si_sdr_db
from audiorestorer.models.mask_unet import load_checkpoint
from audiorestorer.stages.training import evaluate_model
from audiorestorer.training import runs
from audiorestorer.training.data import Data
from audiorestorer.training.fit import inputs_of
from audiorestorer.training.module import MaskModule
from audiorestorer.training.settings import load_settings
from tests import warm
from tests.datasets.conftest import RATE, write_training_audio
from tests.training.trainings import train

NETWORK = {
    "sample_rate": RATE, "n_fft": 128, "hop_length": 64, "frequency_fold": 2, "channels": [8, 12],
    "time_strides": [1, 2], "rnn_hidden": 16,
}  # fmt: skip
TINY: dict[str, Any] = {
    "name": "tiny", "seed": 5, "steps": 6, "steps_per_epoch": 2, "batch_size": 2, "precision": "32-true",
    "warmup_steps": 2, "network": NETWORK, "mixtures": {"segment_sec": 0.25},
}  # fmt: skip

BANDS: dict[str, Any] = {
    **TINY, "storage": "int8", "network": {
        "sample_rate": RATE, "n_fft": 128, "hop_length": 64, "frequency_fold": 1, "channels": [], "time_strides": [],
        "bottleneck": "lstm", "rnn_hidden": 6, "rnn_layers": 2, "bands": 8, "band_width": 8, "band_hidden": 4,
    },
}  # fmt: skip


def digest(experiment: dict[str, Any], data: Path) -> str:
    """What names the run of an experiment on a training folder."""
    settings = load_settings(experiment)
    return settings.digest(inputs_of(settings, Data(folder=data)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training_audio(tmp_path_factory.mktemp("audio"))


@pytest.mark.parametrize("tiny", [TINY, BANDS], ids=["unet", "bands"])
def test_resumed_equals_uninterrupted_byte_for_byte(tiny: dict[str, Any], data: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    train(tiny, data, whole, tmp_path / "work_a", 1)
    for epochs in (1, 2):
        assert train(tiny, data, resumed, tmp_path / "work_b", 1, stop_after=epochs) is None
        assert not resumed.exists()
    train(tiny, data, resumed, tmp_path / "work_b", 1)
    assert whole.read_bytes() == resumed.read_bytes()
    assert not list((tmp_path / "work_b").rglob("*.tmp"))
    curves = [next((tmp_path / work).glob("*_tiny/logs/loss.csv")).read_text() for work in ("work_a", "work_b")]
    assert curves[0] == curves[1]  # no gap, no overlap, the same losses to the last digit
    assert [line.split(",")[0] for line in curves[0].splitlines()] == ["step", *map(str, range(1, 7))]
    other = tmp_path / "other.safetensors"
    train({**tiny, "seed": 6}, data, other, tmp_path / "work_b", 1)  # never resumes another run's checkpoint
    assert other.read_bytes() != whole.read_bytes()


def test_learns(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    mixtures = {"segment_sec": 0.5, "snr_db": [0, 0], "reverb": 0, "equaliser": 0, "band_limit": 0, "speed": 0}
    config = {**TINY, "steps": 40, "steps_per_epoch": 20, "batch_size": 4, "warmup_steps": 5, "mixtures": mixtures}
    train(config, data, out, tmp_path / "work", 1)
    network, metadata = load_checkpoint(out)
    assert metadata["card"]["steps"] == 40
    settings = load_settings({**config, "mixtures": {**mixtures, "segment_sec": 1.0, "pure_speech": 0, "no_speech": 0}})
    mixer = Mixer(AudioBank(data, None, RATE), settings.mixtures, "separate", 99)
    gains = []
    for index in range(12):
        example = mixer.example(0, index)
        mixture, target = torch.from_numpy(example.mixture), torch.from_numpy(example.target)
        with torch.no_grad():
            estimate = network(mixture[None, None])[0, 0]
        gains.append(float(si_sdr_db(estimate, target) - si_sdr_db(mixture, target)))
    assert sorted(gains)[6] > 5
    figures = evaluate_model.run(out, data, tmp_path / "figures.json", count=3)
    assert set(figures["by_snr_db"]) == {"0", "5", "10"} and (tmp_path / "figures.json").exists()


def test_fine_tuning_begins_with_the_given_weights(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    train(TINY, data, first, tmp_path / "work", 1)
    still = {**TINY, "seed": 9, "learning_rate": 1e-12, "weight_decay": 0.0, "initial": str(first)}
    train(still, data, second, tmp_path / "work", 1)
    (before, _), (after, metadata) = load_checkpoint(first), load_checkpoint(second)
    for name, value in before.named_parameters():
        assert torch.equal(value, after.get_parameter(name)), name
    assert len(metadata["card"]["initial"]) == 64
    assert digest(still, data) != digest({**still, "initial": None}, data)
    wider = {**still, "network": {**NETWORK, "rnn_hidden": 8}}
    with pytest.raises(AudioRestorerError, match=r"first\.safetensors: network: rnn_hidden 8, the checkpoint has 16"):
        train(wider, data, second, tmp_path / "work", 1)
    with pytest.raises(AudioRestorerError, match="absent"):
        train({**still, "initial": str(tmp_path / "absent")}, data, second, tmp_path / "work", 1)


@pytest.mark.slow
def test_two_processes_train_as_one_does_with_their_batches(data: Path, tmp_path: Path) -> None:
    """What `devices: 2` gives, here of a CPU: the gradient is that of both halves, one folder, one model."""
    begin = tmp_path / "begin.safetensors"
    train({**BANDS, "storage": "float16"}, data, begin, tmp_path / "work", 1)
    found = {}
    for devices in (1, 2):
        experiment, out = tmp_path / f"{devices}.yaml", tmp_path / f"{devices}.safetensors"
        changes = {"batch_size": 4 // devices, "devices": devices, "strategy": "ddp" if devices > 1 else "auto"}
        config = {
            **BANDS,
            **changes,
            "accelerator": "cpu",
            "losses": {"l1": 1.0},
            "storage": "float16",
            "ema_decay": 0.0,
        }
        experiment.write_text(json.dumps({**config, "initial": str(begin)}))
        command = ["-m", "audiorestorer", "train", "--config", str(experiment), "--data", str(data)]
        command += ["--out", str(out), "--work", str(tmp_path / f"work_{devices}"), "--threads", "1"]
        done = warm.run(*command)
        assert done.returncode == 0 and done.stdout.count("step 6/6") == 1, done.stdout + done.stderr
        assert len(list((tmp_path / f"work_{devices}").glob("*_tiny"))) == 1
        found[devices] = torch.cat([value.flatten() for value in load_checkpoint(out)[0].parameters()])
    start = torch.cat([value.flatten() for value in load_checkpoint(begin)[0].parameters()])
    moved = (found[1] - start).norm()
    assert moved > 0.01 and (found[1] - found[2]).norm() < 0.02 * moved


def test_a_second_writer_is_refused(data: Path, tmp_path: Path) -> None:
    with (
        runs.opened(tmp_path / "work", "tiny", digest(TINY, data)),
        pytest.raises(AudioRestorerError, match="another process"),
    ):
        train(TINY, data, tmp_path / "m.safetensors", tmp_path / "work", 1)


def test_settings_name_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("stepz: 3\n")
    with pytest.raises(AudioRestorerError, match=r"e\.yaml: stepz"):
        load_settings(path)
    with pytest.raises(AudioRestorerError, match="absent"):
        load_settings(tmp_path / "absent.yaml")


def test_committed_experiments_are_valid() -> None:
    folder = Path(__file__).parents[2] / "config" / "experiments"
    others = ("pilot_fusion", "pilot_extension")
    names = {load_settings(path).name for path in folder.glob("pilot_*.yaml") if not path.stem.startswith(others)}
    assert names >= {"pilot_sep_a", "pilot_sep_b", "pilot_denoiser"}


def test_the_learning_rate_follows_a_schedule_that_the_training_does_not_end() -> None:
    def rates(**changes: object) -> list[float]:
        settings = load_settings({**TINY, "steps": 20, "steps_per_epoch": 10, "warmup_steps": 5, **changes})
        chosen = MaskModule(settings).configure_optimizers()
        factor = chosen["lr_scheduler"]["scheduler"].lr_lambdas[0]
        return [factor(step) for step in range(20)]

    whole, short = rates(steps=40), rates(schedule_steps=40)
    assert short == whole[:20] and rates()[-1] < 0.05 < short[-1]
    with pytest.raises(AudioRestorerError, match="schedule_steps 10"):
        rates(schedule_steps=10)
