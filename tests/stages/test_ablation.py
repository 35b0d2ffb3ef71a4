"""The ablation's stages: sets that come out the same, figures of restorers whose figures are known, the table's files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.config import AblationDataSettings, AblationSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, read_json
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet, save_checkpoint
from audiorestorer.stages.ablation import ablation_report, evaluate_restorer, make_degraded
from audiorestorer.training.settings import load_settings
from tests.stages.conftest import with_mask

ROOT = Path(__file__).parents[2]
PILOT = ROOT / "data/pilot"
RATE = 16_000
SMALL = AblationDataSettings(tracks=8, stand_ins=2, items=5, item_sec=2.0)
NETWORK = MaskUNetConfig(
    sample_rate=RATE, n_fft=256, hop_length=64, frequency_fold=2, channels=(4,), time_strides=(2,), rnn_hidden=8
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    make_degraded.run(folder, SMALL, speech=PILOT, sample_rate=RATE)
    return folder


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    make_degraded.run(tmp_path / "again", SMALL, speech=PILOT, sample_rate=RATE)
    assert content(tmp_path / "again") == content(made)
    make_degraded.run(tmp_path / "other", SMALL.model_copy(update={"seed": 8}), speech=PILOT, sample_rate=RATE)
    other, before = content(tmp_path / "other"), content(made)
    assert other.keys() == before.keys()
    assert all(other[name] != before[name] for name in before if name.startswith(("real/", "test/")))


def test_rows_and_files(made: Path) -> None:
    train, real, test = (rows_of(made / name) for name in ("train.jsonl", "real.jsonl", "test.jsonl"))
    assert {row["split"] for row in train} == {"train", "valid"} and len(real) == 2 and len(test) == 10
    assert {row["record"]["family"] for row in test} == {"held_out", "stand_in"}
    assert all(row.get("clean") is None and sf.info(made / row["noisy"]).duration > 1 for row in real)
    assert not {row["source"] for row in test} & {row["id"] for row in train}
    for row in test:
        assert len(row["starts"]) == len(row["widths_sec"])
        assert sf.info(made / row["clean"]).frames == sf.info(made / row["noisy"]).frames == 2 * RATE


def test_real_recordings_of_ones_own(tmp_path: Path) -> None:
    counts = make_degraded.run(tmp_path, SMALL, speech=PILOT, real=tmp_path / "shelf", sample_rate=RATE)
    assert counts["real"] == 0 and counts["test"] == 5 and not (tmp_path / "real").exists()
    assert {row["condition"] for row in rows_of(tmp_path / "test.jsonl")} == {"unseen"}
    with pytest.raises(AudioRestorerError, match="--speech or --manifest"):
        make_degraded.run(tmp_path, SMALL)


def test_doing_nothing_gains_nothing_and_the_target_gains_all(made: Path, tmp_path: Path) -> None:
    found = evaluate_restorer.run(made / "test.jsonl", tmp_path / "input.json", method="input")
    assert read_json(tmp_path / "input.json") == found and (found["row"], found["seed"]) == ("input", None)
    for item in found["items"]:
        assert item["si_sdr_improvement_db"] == item["lsd_improvement_db"] == item["composite_gain"] == 0
        assert item.get("impulse_removal", 0) == 0 and item.get("transient_improvement", 0) == 0
    row = evaluate_restorer.TestRow.model_validate(rows_of(made / "test.jsonl")[1])
    clean, noisy = (sf.read(made / path, dtype="float32")[0][None] for path in (row.clean, row.noisy))
    best = evaluate_restorer.measure(clean, noisy, clean, RATE, row)
    assert best["si_sdr_db"] == 100 and best["lsd_db"] == 0 and best["composite"] > 95
    assert best["impulse_removal"] == 1 and best["transient_preservation"] == pytest.approx(1, abs=1e-4)
    silent = evaluate_restorer.measure(clean, noisy, np.zeros_like(clean), RATE, row)
    assert "silent" in silent["missing"]["si_sdr_db"] and silent["impulse_removal"] == 0


def test_a_checkpoint_that_lets_all_pass_is_the_input(made: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "same.safetensors", with_mask(40.0, NETWORK), "denoise", {})
    found = evaluate_restorer.run(
        made / "test.jsonl", tmp_path / "r.json", checkpoint=tmp_path / "same.safetensors", row="same", seed=4
    )
    assert (found["row"], found["seed"]) == ("same", 4) and found["sha256"]
    assert all(abs(item["si_sdr_improvement_db"]) < 0.01 for item in found["items"])


def test_what_cannot_be_evaluated(made: Path, tmp_path: Path) -> None:
    def error(**options: Any) -> str:
        with pytest.raises(AudioRestorerError) as found:
            evaluate_restorer.run(options.pop("manifest", made / "test.jsonl"), tmp_path / "x.json", **options)
        return str(found.value)

    assert "--checkpoint or --method" in error() and "--checkpoint or --method" in error(method="magic")
    other = MaskUNetConfig(**{**NETWORK.__dict__, "sample_rate": 8000})
    save_checkpoint(tmp_path / "m.safetensors", MaskUNet(other), "denoise", {})
    assert "for 8000 Hz, the test items have 16000 Hz" in error(checkpoint=tmp_path / "m.safetensors")
    path = tmp_path / "t.jsonl"
    good = rows_of(made / "test.jsonl")[0]
    for content_, message in (
        ("\n", "no test items"),
        ("{}\n", r"t.jsonl:1: id"),
        (json.dumps({**good, "starts": "many"}) + "\n", "t.jsonl:1: starts"),
        (json.dumps({**good, "clean": "../../etc/passwd"}) + "\n", "lies outside of"),
        (json.dumps({**good, "clean": "nowhere.wav"}) + "\n", "nowhere.wav"),
    ):
        path.write_text(content_)
        assert message in error(manifest=path, method="input")
    assert not (tmp_path / "x.json").exists()


def result(folder: Path, row: str, seed: int | None, gain: float) -> Path:
    items = [
        {
            "id": f"{condition}{k}", "condition": condition, "si_sdr_improvement_db": gain + k / 10, "composite": 50 + gain,
            "impulse_removal": 0.1 * gain, "missing": {"lsd_db": "the reference is <silent>"},
        }
        for condition in ("unseen", "like_real") for k in range(6)
    ]  # fmt: skip
    path = folder / f"{row}.{seed}.json"
    path.write_text(json.dumps({"row": row, "seed": seed, "sha256": None, "items": items}))
    return path


def record(folder: Path, row: str, seed: int) -> Path:
    logs = folder / f"run_{row}_{seed}/logs"
    logs.mkdir(parents=True)
    (logs / "monitoring.csv").write_text(
        "epoch,step,synthetic_supervised_loss,real_consistency_loss\n1,10,2.0,0.5\n2,20,1.0,\n"
    )
    (folder / f"{row}.{seed}.json").write_text(json.dumps({"run": str(logs.parent)}))
    return folder / f"{row}.{seed}.json"


def test_the_report(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    gains = {"baseline": 4.0, "adaptive": 4.5, "mixed": 6.0}
    results = [result(tmp_path, "input", None, 0.0)]
    results += [result(tmp_path, row, seed, gain) for row, gain in gains.items() for seed in (1, 2)]
    records = [record(tmp_path / "models", row, seed) for row in gains for seed in (1, 2)]
    rows = ablation_report.run(results, tmp_path / "out", "baseline", records=records, settings='{"steps": 3}')
    found = read_json(tmp_path / "out/ablation.json")
    assert found["table"] == rows and found["settings"] == {"steps": 3} and len(found["checkpoints"]) == 7
    assert found["missing"]["input: lsd_db: the reference is <silent>"] == 12
    said = {(p["row"], p["condition"], p["metric"]): p for p in found["promises"]}
    mixed = said["mixed", "unseen", "impulse_removal"]
    assert mixed["relative_percent"] == pytest.approx(50) and mixed["verdict"] == "kept"
    assert said["adaptive", "like_real", "impulse_removal"]["relative_percent"] == pytest.approx(12.5)
    table = read_csv(tmp_path / "out/ablation.csv")
    assert len(table) == len(rows) and tuple(table[0]) == ablation_report.FIELDS
    page = (tmp_path / "out/ablation.html").read_text()
    assert page.count("data:image/png") == 3 and "promised +20 to +30 %" in page and "4.25 ± 0" in page
    for name in ablation_report.PICTURES:
        assert (tmp_path / f"out/{name}.png").read_bytes().startswith(b"\x89PNG")
    first = content(tmp_path / "out")
    ablation_report.run(results, tmp_path / "out", "baseline", records=records, settings='{"steps": 3}')
    assert content(tmp_path / "out") == first


def test_what_cannot_be_reported(tmp_path: Path) -> None:
    path = result(tmp_path, "a", 1, 1.0)
    with pytest.raises(AudioRestorerError, match="no result of the baseline 'b'"):
        ablation_report.run([path], tmp_path / "out", "b")
    for bad in ('{"items": [1]}', '{"items": [], "row": 3, "seed": 1}', "[]", "{"):
        path.write_text(bad)
        with pytest.raises(AudioRestorerError, match=r"a\.1\.json"):
            ablation_report.run([path], tmp_path / "out", "a")


def test_every_row_of_both_forms_is_a_possible_training() -> None:
    from audiorestorer.config import Config, load

    for settings in (AblationSettings(), load(Config, str(ROOT / "config/ablation_full.yaml")).ablation):
        enabled = {}
        for row in settings.rows:
            chosen = load_settings(
                ROOT / settings.experiment,
                {"name": f"ablation_{row.name}", "steps": settings.steps, "strategies": row.strategies},
            )
            MaskUNetConfig(**chosen.network.model_dump())
            strategies = chosen.strategies.model_dump()
            enabled[row.name] = {
                name for name, value in strategies.items() if isinstance(value, dict) and value["enabled"]
            }
        assert enabled == {
            "baseline": set(), "adaptive": {"adaptive"}, "mixed": {"mixed"}, "contrastive": {"contrastive"},
            "mixed_curriculum": {"mixed", "curriculum"}, "pseudo_label": {"pseudo_label"},
            "together": {"adaptive", "mixed", "contrastive", "curriculum", "pseudo_label"},
        }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"baseline": "nobody"}, "none of the rows"),
        ({"rows": [{"name": "input"}, {"name": "baseline"}]}, "in the table anyway"),
        ({"rows": [{"name": "baseline"}] * 2}, "differ from each other"),
        ({"seeds": [1, 1]}, "differ from each other"),
        ({"seeds": [-1]}, "seeds lie in 0"),
        ({"rows": [{"name": "../a"}]}, "name"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AblationSettings.model_validate(values)
