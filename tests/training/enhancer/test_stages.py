"""The enhancer's trainings: resumed as uninterrupted, frozen parts, scales, losses that fall, steps that are skipped, the join."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml

from audiorestorer.datasets.enhancement.mixing import EnhancementDataset, EnhancementFolder
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv
from audiorestorer.models.enhancer import settings as networks
from audiorestorer.models.enhancer.checkpoint import join_checkpoints, load_checkpoint
from audiorestorer.models.enhancer.enhancer import Enhancer
from audiorestorer.training.enhancer.epoch_samples import batches
from audiorestorer.training.enhancer.fit import module_of
from audiorestorer.training.enhancer.module import StepRandom
from audiorestorer.training.enhancer.settings import EnhancerTrainSettings, load_settings
from tests import warm
from tests.models.enhancer.test_enhancer import SMALL
from tests.training.enhancer.conftest import DENOISER, STAGE1, STAGE2
from tests.training.trainings import train_enhancer

BEFORE = {"denoiser": [], "stage1": ["denoiser"], "stage2": ["denoiser", "stage1"]}
CONFIGS = {"denoiser": DENOISER, "stage1": STAGE1, "stage2": STAGE2}
EXPERIMENTS = Path(__file__).parents[3] / "config" / "experiments"


def run_folder(work: Path, name: str) -> Path:
    return next(work.glob(f"*_tiny_{name}"))


def a_batch(
    data: Path, settings: EnhancerTrainSettings, count: int = 4
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    folder = EnhancementFolder(data, SMALL.features.sample_rate, settings.data, settings.seed)
    return next(batches(EnhancementDataset(folder, "train", count, 3), count, count, torch.device("cpu")))


@pytest.mark.parametrize("name", list(CONFIGS))
def test_resumed_equals_uninterrupted_byte_for_byte(
    name: str, data: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    out, previous = tmp_path / "m.safetensors", [trained[part] for part in BEFORE[name]]
    for epochs in (1, 2):
        assert train_enhancer(CONFIGS[name], data, out, tmp_path / "work", previous, stop_after=epochs) is None
        assert not out.exists()
    train_enhancer(CONFIGS[name], data, out, tmp_path / "work", previous)
    assert out.read_bytes() == trained[name].read_bytes()
    whole, resumed = run_folder(trained["work"], name), run_folder(tmp_path / "work", name)
    for log in ("loss.csv", "valid.csv"):
        assert (whole / "logs" / log).read_text() == (resumed / "logs" / log).read_text()
    curve = read_csv(whole / "logs/loss.csv")
    assert [row["step"] for row in curve] == [str(step) for step in range(1, 7)]
    samples = sorted(path.name for path in (resumed / "logs/samples/ep003").iterdir())
    assert len(samples) == 2 * {"denoiser": 3, "stage1": 2, "stage2": 4}[name]


def test_killed_and_started_again(data: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(DENOISER))
    command = [
        "-m", "audiorestorer", "train-enhancer", "--config", str(tmp_path / "e.yaml"), "--data", str(data),
        "--out", str(tmp_path / "m.safetensors"), "--work", str(tmp_path / "work"),
    ]  # fmt: skip
    process = subprocess.Popen([str(warm.executable()), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "work").glob("*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    warm.wait_for_end(next((tmp_path / "work").glob(".lock_*")))
    assert not (tmp_path / "m.safetensors").exists()
    done = warm.run(*command)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.safetensors").read_bytes() == trained["denoiser"].read_bytes()
    assert len(list((tmp_path / "work").glob("*_tiny_denoiser"))) == 1


def test_a_frozen_part_does_not_change(trained: dict[str, Path]) -> None:
    before, _ = load_checkpoint(trained["denoiser"], trained["stage1"])
    last = torch.load(run_folder(trained["work"], "stage2") / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    state = {name.removeprefix("enhancer."): value for name, value in last.items()}
    for name, value in before.state_dict().items():
        if not name.startswith("flow."):
            assert torch.equal(state[name], value), name
    after, _ = load_checkpoint(trained["stage2"])
    torch.manual_seed(5)
    started = Enhancer(SMALL).flow.state_dict()
    assert any(not torch.allclose(value, started[name], atol=1e-4) for name, value in after.flow.state_dict().items())


def test_stage_1_learns_normaliser_and_scale(data: Path, trained: dict[str, Path]) -> None:
    settings = load_settings(STAGE1)
    model, metadata = load_checkpoint(trained["stage1"])
    assert metadata["parts"] == ["irmae", "vocoder"]
    folder = EnhancementFolder(data, 8000, settings.data, settings.seed)
    dataset = EnhancementDataset(folder, "train", 4, settings.seed)
    module: Any = module_of(settings, model).eval()
    audio = [
        module.speech(batch[2], StepRandom(5, number))
        for number, batch in enumerate(batches(dataset, 4, 2, torch.device("cpu")))
    ]
    codes = torch.cat([model.code(model.features(part)).flatten() for part in audio])
    assert float(codes.std()) == pytest.approx(1, abs=2e-3)  # what is saved has 11 bits
    features = torch.cat([model.features(part).flatten() for part in audio])
    assert abs(float(features.mean())) < 0.3 and float(features.std()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_few_steps_lower_the_loss_on_one_batch(name: str, data: Path) -> None:
    settings = load_settings({**CONFIGS[name], **({"gan_from": None} if name == "stage1" else {})})
    torch.manual_seed(0)
    module = module_of(settings, Enhancer(SMALL))
    batch = a_batch(data, settings)
    if name == "stage2":
        module.enhancer.normaliser.update(module.enhancer.mel(batch[2]))
    optimiser = torch.optim.Adam(module.trained(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss, _ = module.losses(batch, StepRandom(0, 0), step=10)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < 0.93 * losses[0]


def test_the_discriminators_learn_to_tell(data: Path) -> None:
    """In training they step down the hinge loss before the vocoder is judged, and the vocoder's step leaves them alone."""
    settings = load_settings({**STAGE1, "steps": 12, "steps_per_epoch": 12, "gan_from": 0, "vocoder_from": 0})
    torch.manual_seed(0)
    module: Any = module_of(settings, Enhancer(SMALL))
    start = [parameter.detach().clone() for parameter in module.discriminators.parameters()]
    fitted(module, [a_batch(data, settings)] * 12)
    assert all(parameter.requires_grad for parameter in module.discriminators.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(start, module.discriminators.parameters(), strict=True))
    found = module.trainer.callback_metrics
    assert 0 < float(found["discriminator"]) < 2 and torch.isfinite(found["adversarial"])


def fitted(module: lightning.LightningModule, batch_list: list[Any]) -> None:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=1, **quiet)  # type: ignore[arg-type]
    trainer.fit(module, torch.utils.data.DataLoader(batch_list, batch_size=None))  # type: ignore[arg-type]


def test_a_step_that_is_not_finite_is_skipped_and_counted(data: Path) -> None:
    settings = load_settings({**DENOISER, "steps": 3, "steps_per_epoch": 3})
    good = a_batch(data, settings, 2)
    bad = tuple(torch.full_like(part, torch.nan) for part in good)
    states = []
    for sequence in ([good, good], [good, bad, good]):
        torch.manual_seed(0)
        module = module_of(settings, Enhancer(SMALL))
        fitted(module, sequence)
        states.append(module)
    assert int(states[0].skipped) == 0 and int(states[1].skipped) == 1
    assert all(parameter.isfinite().all() for parameter in states[1].parameters())
    # the schedule went on, nothing else did
    moved = [next(module.enhancer.denoiser.parameters()) for module in states]
    assert torch.allclose(moved[0], moved[1], atol=3e-3) and not torch.equal(moved[0], moved[1])


def test_the_published_recipe_is_the_default() -> None:
    denoiser, stage1, stage2 = (
        load_settings({"lcfm_training_mode": mode} if mode else {}) for mode in (None, "ae", "cfm")
    )
    for settings in (denoiser, stage1, stage2):
        module = module_of(settings.model_copy(update={"network": SMALL}), Enhancer(SMALL))
        rates = [settings.learning_rate * module.rate(step) for step in (0, 500, 1000, 500_500, 1_000_000)]
        assert rates == pytest.approx([1e-5, 5.5e-5, 1e-4, 5e-5, 0])
        assert settings.clip_norm == 1 and settings.networks == networks.of_size("reference")
    assert (denoiser.batch_size, denoiser.data.segment_sec, stage1.batch_size, stage1.data.segment_sec) == (
        32,
        3,
        16,
        1,
    )
    assert (stage2.batch_size, stage2.data.segment_sec, stage2.data.pitch) == (32, 3, 0.2)
    assert stage1.gan_from == 5000 and stage1.data.background == stage1.data.distorted == 0  # type: ignore[attr-defined]


def test_committed_experiments_fit_together() -> None:
    found = [load_settings(EXPERIMENTS / f"{name}.yaml") for name in ("denoiser", "enhancer_stage1", "enhancer_stage2")]
    assert [settings.parts for settings in found] == [("denoiser",), ("irmae", "vocoder"), ("flow",)]
    assert all(settings.networks == networks.of_size("pilot", 22_050) for settings in found)
    lite = load_settings(EXPERIMENTS / "enhancer_stage2.yaml", {"size": "lite", "sample_rate": 44_100})
    assert lite.networks == networks.of_size("lite")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"stepz": 3}, "stepz: unknown key; did you mean 'steps'"),
        ({"lcfm_training_mode": "gan"}, "neither ae"),
        ({"lcfm_training_mode": "ae", "data": {"background": 0.5}}, "data.background"),
        ({"lcfm_training_mode": "cfm", "gan_from": 3}, "gan_from: unknown key"),
        ({"lcfm_training_mode": "ae", "level_db": [0, -3]}, "lowest"),
        ({"lcfm_training_mode": "cfm", "fixed_examples": 33}, "multiple of batch_size 32"),
        ({"size": "huge"}, "size"),
        ({"sample_rate": 48_000}, "48000"),
        ({"steps": 5, "steps_per_epoch": 2}, "multiple"),
        ({"data": {"rooms": 1}}, "data.rooms: unknown key"),
    ],
)
def test_wrong_keys_are_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(AudioRestorerError, match=message):
        load_settings(content)


def test_a_missing_or_wrong_predecessor_is_refused(data: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"

    def refused(config: dict[str, Any], previous: list[Path], message: str) -> None:
        with pytest.raises(AudioRestorerError, match=message):
            train_enhancer(config, data, out, tmp_path / "work", previous)
        assert not out.exists()

    refused(
        STAGE1, [], r"tiny_stage1: needs trained denoiser \(--previous: none given\); the order is denoiser, stage 1"
    )
    refused(STAGE2, [trained["denoiser"]], "needs trained irmae, vocoder")
    refused(STAGE2, [trained["stage1"]], "needs trained denoiser")
    refused(STAGE2, [trained["denoiser"], tmp_path / "absent.safetensors"], "absent.safetensors")
    other = {**STAGE2["network"], "flow": {"hidden": 8, "layers": 3, "frequencies": 4}}
    refused({**STAGE2, "network": other}, [trained["denoiser"], trained["stage1"]], "another size")
    model = {**DENOISER, "network": other}
    foreign = tmp_path / "foreign.safetensors"
    train_enhancer(model, data, foreign, tmp_path / "work")
    refused(STAGE2, [foreign, trained["stage1"]], "another configuration")


def test_parts_are_joined(trained: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "enhancer.safetensors"
    parts = [trained[name] for name in CONFIGS]
    join_checkpoints(parts, out)
    model, metadata = load_checkpoint(out)
    assert metadata["parts"] == ["denoiser", "irmae", "flow", "vocoder"]
    cards = metadata["card"]["parts"]
    assert [cards[part]["name"] for part in metadata["parts"]] == [
        "tiny_denoiser",
        "tiny_stage1",
        "tiny_stage2",
        "tiny_stage1",
    ]
    assert cards["denoiser"]["skipped"] == 0 and cards["flow"]["settings"]["steps"] == 6
    for name, value in load_checkpoint(*parts)[0].state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    enhanced = model(0.1 * torch.randn(1, 2000), seeds=[1], nfe=4).enhanced
    assert enhanced is not None and enhanced.shape == (1, 2000) and enhanced.isfinite().all()
    with pytest.raises(AudioRestorerError, match="no trained flow"):
        join_checkpoints(parts[:2], out)


def test_random_numbers_depend_on_seed_and_step_alone() -> None:
    like = torch.zeros(1)
    first, again, other = (StepRandom(3, step).normal(like, 2, 5) for step in (7, 7, 8))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first, StepRandom(3, 7, epoch=1).normal(like, 2, 5))


def test_the_committed_pilot_is_whole_and_small() -> None:
    path = EXPERIMENTS.parents[1] / "models/pilot/pilot_enhancer.safetensors"
    model, metadata = load_checkpoint(path)
    assert path.stat().st_size < 12_000_000 and metadata["parts"] == ["denoiser", "irmae", "flow", "vocoder"]
    assert model.settings == networks.of_size("pilot", 22_050)
    cards = metadata["card"]["parts"]
    for name, part in (("denoiser", "denoiser"), ("enhancer_stage1", "vocoder"), ("enhancer_stage2", "flow")):
        assert cards[part]["settings"]["steps"] >= load_settings(EXPERIMENTS / f"{name}.yaml").steps
        assert cards[part]["settings"]["size"] == "pilot"
        assert cards[part]["skipped"] == 0
