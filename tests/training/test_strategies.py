"""Strategies: what each adds to the loss, that they go together, and that a killed training ends with the same bytes."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from audiorestorer.datasets.degradation.settings import DegradationSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, read_json
from audiorestorer.models.mask_unet import load_checkpoint
from audiorestorer.training import runs
from audiorestorer.training.data import Data
from audiorestorer.training.fit import fit
from audiorestorer.training.module import MaskModule
from audiorestorer.training.monitoring import FIELDS
from audiorestorer.training.settings import load_settings
from audiorestorer.training.strategies import Batch
from tests.datasets.conftest import RATE, write_real_recordings, write_training_audio

NETWORK = {
    "sample_rate": RATE, "n_fft": 128, "hop_length": 64, "frequency_fold": 2, "channels": [4], "time_strides": [2], "rnn_hidden": 8,
}  # fmt: skip
BASE: dict[str, Any] = {
    "name": "tiny", "task": "denoise", "seed": 5, "steps": 8, "steps_per_epoch": 2, "batch_size": 6, "precision": "32-true",
    "warmup_steps": 2, "network": NETWORK, "mixtures": {"segment_sec": 0.25}, "degradations": {},
    "perceptual_eval": {"seconds": 0.5}, "audio_debug": {"seconds": 0.5}, "monitoring": {"items": 2, "patience": 2},
}  # fmt: skip
EACH: dict[str, dict[str, Any]] = {
    "baseline": {},
    "adaptive": {"adaptive": {"enabled": True, "every_epochs": 2, "recordings": 2}},
    "mixed": {"mixed": {"enabled": True}},
    "contrastive": {"contrastive": {"enabled": True}},
    "curriculum": {"mixed": {"enabled": True}, "curriculum": {"enabled": True, "shape": "cosine"}},
    "pseudo_label": {"pseudo_label": {"enabled": True, "start": 0.4}},
}
ALL = {name: value for strategy in EACH.values() for name, value in strategy.items()}


def analyse(paths: Sequence[Path]) -> DegradationSettings:
    """A stand-in that tells one set of recordings from another."""
    rate = 1.0 + sum(len(path.name) for path in paths)
    return DegradationSettings.model_validate({"clicks": {"rate_per_sec": [rate, 2 * rate]}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("audio")
    return Data(folder=write_training_audio(folder / "clean"), real=write_real_recordings(folder / "real"))


def trained(
    data: Data, folder: Path, strategies: dict[str, Any], stops: Sequence[int | None] = (None,), **changes: Any
) -> Path:
    settings = load_settings({**BASE, **changes, "strategies": strategies})
    for stop in stops:
        fit(settings, data, folder / "m.safetensors", folder / "runs", 1, stop, analyse)
    return folder / "m.safetensors"


def logs(model: Path) -> Path:
    return runs.RunFolder(Path(read_json(model.with_suffix(".json"))["run"])).logs


@pytest.fixture(scope="module")
def together(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(data, tmp_path_factory.mktemp("all"), ALL)


def test_all_together_resumed_equal_uninterrupted_byte_for_byte(data: Data, together: Path, tmp_path: Path) -> None:
    resumed = trained(data, tmp_path, ALL, stops=(1, 2, 3, None))
    assert resumed.read_bytes() == together.read_bytes()
    for name in ("loss.csv", "monitoring.csv"):
        assert (logs(resumed) / name).read_bytes() == (logs(together) / name).read_bytes()


def test_a_kill_between_checkpoint_and_epoch_end_changes_nothing(data: Data, together: Path, tmp_path: Path) -> None:
    """A run killed in its third epoch, whose rows of that epoch are already written, does the epoch again."""
    first = trained(data, tmp_path, ALL, stops=(2, 3))
    (folder,) = (tmp_path / "runs").glob("*_tiny")
    run = runs.RunFolder(folder)
    state = torch.load(run.checkpoint, weights_only=True)
    assert any(name.startswith("strategies.teacher.") for name in state["state_dict"])
    older = tmp_path / "older"
    trained(data, older, ALL, stops=(2,))
    (other,) = (older / "runs").glob("*_tiny")
    run.checkpoint.write_bytes(runs.RunFolder(other).checkpoint.read_bytes())
    assert trained(data, tmp_path, ALL).read_bytes() == together.read_bytes() and first == tmp_path / "m.safetensors"
    assert (run.logs / "monitoring.csv").read_bytes() == (logs(together) / "monitoring.csv").read_bytes()


@pytest.mark.parametrize("name", sorted(EACH))
def test_each_alone(data: Data, tmp_path: Path, name: str) -> None:
    model = trained(data, tmp_path, EACH[name], steps=4)
    network, metadata = load_checkpoint(model)
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    recorded = metadata["card"]["settings"]["strategies"]
    assert metadata["card"]["real"] and all(recorded[key]["enabled"] == (key in EACH[name]) for key in ALL)
    rows = read_csv(logs(model) / "monitoring.csv")
    assert list(rows[0]) == list(FIELDS) and [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["synthetic_supervised_loss"]) > 0 and float(row["real_consistency_loss"]) > 0 for row in rows)
    assert all(0 <= float(row["impulse_removal_rate"]) <= 1 for row in rows)
    shares = [float(row["synthetic_sample_ratio"]) for row in rows]
    wanted = {"baseline": 1.0, "adaptive": 1.0}.get(name, 0.7)
    assert shares[0] > shares[1] if name == "curriculum" else all(abs(share - wanted) < 0.1 for share in shares)
    parts = set(read_csv(logs(model) / "loss.csv")[0])
    assert ({"consistency", "cycle"} <= parts) == (name in ("mixed", "curriculum"))
    assert ("contrastive" in parts) == (name == "contrastive") and ("pseudo_label" in parts) == (name == "pseudo_label")


def test_speed_and_paths_do_not_name_a_run(data: Data) -> None:
    """Threads, workers and where the real recordings lie say nothing of what a training makes; its seed does."""
    plain = load_settings({name: value for name, value in BASE.items() if name not in ("degradations", "monitoring")})
    elsewhere = plain.real.model_copy(update={"folder": "elsewhere"})
    for same in ({"threads": 3, "workers": 2}, {"real": elsewhere}):
        assert plain.model_copy(update=same).digest({"data": data.digest}) == plain.digest({"data": data.digest})
    assert plain.model_copy(update={"seed": 9}).digest({}) != plain.digest({}) != plain.digest({"data": "other"})
    assert MaskModule(plain).strategies is None
    assert all(not name.startswith("strategies") for name in MaskModule(plain).state_dict())


def test_the_seed_and_the_recordings_name_the_run(data: Data, tmp_path: Path) -> None:
    with_real = trained(data, tmp_path / "a", EACH["mixed"], steps=4)
    without = trained(Data(folder=data.folder), tmp_path / "b", {}, steps=4)
    assert not (logs(without) / "monitoring.csv").read_text().count("nan")
    assert read_csv(logs(without) / "monitoring.csv")[0]["real_consistency_loss"] == ""
    assert with_real.read_bytes() != without.read_bytes()


def test_a_strategy_is_switched_on_by_what_differs() -> None:
    once = load_settings(
        {**BASE, "strategies": {"synthetic_ratio": 0.5}}, {"strategies": {"mixed": {"enabled": True}}, "seed": 9}
    )
    assert once.strategies.mixed.enabled and once.strategies.synthetic_ratio == 0.5 and once.seed == 9
    assert once.network.rnn_hidden == 8 and not once.strategies.curriculum.enabled


def test_the_demo_experiment_is_a_baseline() -> None:
    demo = load_settings(Path(__file__).parents[2] / "config/experiments/restorer_demo.yaml")
    assert demo.restores and not demo.strategies.uses_real and not demo.strategies.adaptive.enabled
    for strategies in EACH.values():
        load_settings(Path(__file__).parents[2] / "config/experiments/restorer_demo.yaml", {"strategies": strategies})


def test_real_recordings_and_no_word_of_strategies_are_mixed_with_a_curriculum(data: Data, tmp_path: Path) -> None:
    model = fit(load_settings(BASE), data, tmp_path / "m.safetensors", tmp_path / "runs", 1)
    assert model and len({float(row["consistency"]) for row in read_csv(logs(model) / "loss.csv")}) > 1
    ratios = [float(row["synthetic_sample_ratio"]) for row in read_csv(logs(model) / "monitoring.csv")]
    assert ratios == sorted(ratios, reverse=True) and ratios[0] > ratios[-1]
    for chosen in ({**BASE, "strategies": {}}, {**BASE, "degradations": None}):
        assert not load_settings(chosen).for_real().strategies.uses_real


def test_half_precision_and_workers(data: Data, tmp_path: Path) -> None:
    changes = {"precision": "bf16-mixed", "steps": 4}
    models = [trained(data, tmp_path / str(n), ALL, **changes, workers=n) for n in (0, 1)]
    states = [load_checkpoint(model)[0].state_dict() for model in models]
    assert all(
        torch.equal(value, states[1][name]) and bool(value.isfinite().all()) for name, value in states[0].items()
    )


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(5, 1, 4000, generator=generator)
    mixture = target + 0.5 * torch.randn(5, 1, 4000, generator=generator)
    return mixture, target, torch.tensor([False, False, True, True, True])


def losses(
    strategies: dict[str, Any], batch: tuple[torch.Tensor, ...], epoch: int = 3
) -> tuple[torch.Tensor, dict[str, torch.Tensor], MaskModule]:
    torch.manual_seed(1)
    module = MaskModule(load_settings({**BASE, "strategies": strategies}))
    assert module.strategies is not None
    mixture, target, real = batch
    estimate = module.network(mixture)
    total, parts = module.strategies.loss(module.network, Batch(mixture, target, estimate, real), 0, epoch)
    return total, parts, module


def test_the_loss_is_the_weighted_sum_of_its_parts(batch: tuple[torch.Tensor, ...]) -> None:
    total, parts, module = losses(
        {**ALL, "mixed": {"enabled": True, "supervised": 1.5, "cycle": 0.25, "consistency": 0.4}}, batch
    )
    chosen = module.settings.strategies
    wanted = 1.5 * parts["supervised"] + 0.25 * parts["cycle"] + 0.4 * parts["consistency"]
    wanted = (
        wanted + chosen.contrastive.weight * parts["contrastive"] + chosen.pseudo_label.weight * parts["pseudo_label"]
    )
    assert float(total.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    total.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.trained())
    assert module.strategies is not None and module.strategies.teacher is not None
    assert all(p.grad is None for p in module.strategies.teacher.parameters())


def test_what_a_real_example_has_for_a_target_does_not_matter(batch: tuple[torch.Tensor, ...]) -> None:
    mixture, target, real = batch
    other = target.clone()
    other[real] = 100.0
    for strategies in (EACH["mixed"], EACH["contrastive"], EACH["pseudo_label"]):
        assert torch.equal(losses(strategies, batch)[0], losses(strategies, (mixture, other, real))[0])


@pytest.mark.parametrize("real", [True, False])
def test_batches_of_one_kind(batch: tuple[torch.Tensor, ...], real: bool) -> None:
    mixture, target, _ = batch
    total, parts, _ = losses(ALL, (mixture, target, torch.full((5,), real)))
    missing = {name for name, value in parts.items() if bool(value.isnan())}
    assert missing == ({"supervised", "cycle", "mr_stft", "l1", "si_sdr"} if real else {"consistency", "pseudo_label"})
    total.backward()
    assert bool(total.isfinite())


def test_the_teacher_starts_as_the_average_and_follows_slowly(batch: tuple[torch.Tensor, ...]) -> None:
    _, parts, module = losses({"pseudo_label": {"enabled": True, "start": 0.5, "decay": 0.9}}, batch, epoch=1)
    assert bool(parts["pseudo_label"].isnan())  # not before half of the four epochs
    strategies = module.strategies
    assert strategies is not None and strategies.teacher is not None
    with torch.no_grad():
        for value in module.average.parameters():
            value.normal_()
    before = copy.deepcopy(strategies.teacher.state_dict())
    strategies.begin_epoch(1, module.average)
    assert all(torch.equal(value, before[name]) for name, value in strategies.teacher.state_dict().items())
    strategies.begin_epoch(2, module.average)
    assert all(
        torch.equal(value, module.average.state_dict()[name]) for name, value in strategies.teacher.state_dict().items()
    )
    first = copy.deepcopy(module.average.state_dict())
    with torch.no_grad():
        for value in module.average.parameters():
            value.add_(1.0)
    strategies.begin_epoch(3, module.average)
    for name, value in strategies.teacher.named_parameters():
        assert torch.allclose(value, first[name] + 0.1, atol=1e-5), name
    assert not strategies.teacher.training


def test_contrastive_learns_where_the_embeddings_come_from(batch: tuple[torch.Tensor, ...]) -> None:
    """Its gradient reaches the network below the bottleneck, and following it lowers the loss."""
    torch.manual_seed(1)
    module = MaskModule(load_settings({**BASE, "strategies": {"contrastive": {"enabled": True}}}))
    assert module.strategies is not None
    optimiser = torch.optim.Adam(module.trained(), lr=3e-3)
    mixture, target, real = batch
    values = []
    for _ in range(30):
        estimate = module.network(mixture)
        _, parts = module.strategies.loss(module.network, Batch(mixture, target, estimate, real), 0, 0)
        optimiser.zero_grad()
        parts["contrastive"].backward()
        assert (
            module.network.squeeze.weight.grad is not None and float(module.network.squeeze.weight.grad.abs().max()) > 0
        )
        optimiser.step()
        values.append(float(parts["contrastive"].detach()))
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": {"curriculum": {"enabled": True}}}, "enable mixed, contrastive or pseudo_label"),
        ({"strategies": EACH["adaptive"], "degradations": None}, "follows real recordings with degradations"),
        ({"strategies": EACH["contrastive"], "network": {**NETWORK, "bottleneck": "none"}}, "bottleneck"),
        ({"task": "separate"}, "task denoise"),
        ({"strategies": {"mixt": {}}}, "mixt"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AudioRestorerError, match=message):
        load_settings({**BASE, **changes})


def test_real_recordings_must_be_there(data: Data, tmp_path: Path) -> None:
    for strategies in (EACH["adaptive"], EACH["mixed"]):
        with pytest.raises(AudioRestorerError, match=r"real\.folder, or give --real"):
            fit(
                load_settings({**BASE, "strategies": strategies}),
                Data(folder=data.folder),
                tmp_path / "m",
                tmp_path / "runs",
            )
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*_tiny"))
    settings = load_settings({**BASE, "strategies": EACH["mixed"], "real": {"folder": str(tmp_path / "absent")}})
    with pytest.raises(AudioRestorerError, match="absent: no recordings"):
        fit(settings, Data(folder=data.folder), tmp_path / "m", tmp_path / "runs")
