"""The ablation, run by snakemake for real in a tiny form: two rows, one seed, a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile as sf

from audiorestorer.files import read_csv, read_json
from tests.workflow.conftest import snakemake, speechlike
from tests.workflow.test_training import EXPERIMENT

TINY = EXPERIMENT.replace("audio_debug: {every_epochs: 1, items: 2, seconds: 1.0}", "degradations: {}").replace(
    "data_audit: {every_epochs: 1, items: 4}",
    "monitoring: {items: 1, patience: 2}\nperceptual_eval: {seconds: 1.0}\naudio_debug: {seconds: 1.0}",
)
ROWS = [{"name": "baseline"}, {"name": "mixed", "strategies": {"mixed": {"enabled": True}}}]
DATA = {"tracks": 8, "stand_ins": 2, "items": 5, "item_sec": 2.0}


def compare(folder: Path, *arguments: str, training: dict[str, str] | None = None, **ablation: object) -> str:
    (folder / "tiny.yaml").write_text(TINY.replace("mixtures: {", "mixtures: {resample: true, "))
    chosen = {"experiment": str(folder / "tiny.yaml"), "steps": 4, "seeds": [5], "rows": ROWS, "data": DATA, **ablation}
    return snakemake(folder, {"device": "cpu", "ablation": chosen, "training": training or {}}, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    compare(folder, "ablation")
    return folder


@pytest.mark.slow
def test_one_command_makes_the_table(folder: Path) -> None:
    made = folder / "artifacts/ablation"
    result = read_json(made / "ablation.json")
    rows = {(row["row"], row["condition"]) for row in result["table"]}
    assert rows == {(r, c) for r in ("input", "click_repair", "baseline", "mixed") for c in ("unseen", "like_real")}
    assert result["settings"]["steps"] == 4 and {line["row"] for line in result["promises"]} == {"mixed"}
    found = {(r["row"], r["condition"], r["metric"]): r for r in read_csv(made / "ablation.csv")}
    assert float(found["input", "unseen", "si_sdr_improvement_db"]["mean"]) == 0
    assert float(found["click_repair", "unseen", "impulse_removal"]["mean"]) > 0
    assert found["mixed", "unseen", "composite"]["difference"] and found["mixed", "unseen", "composite"]["items"] == "5"
    assert (made / "ablation.html").read_text().count("data:image/png") == 3
    assert read_json(made / "models/mixed.5.json")["steps"] == 4
    losses = read_csv(folder / read_json(made / "models/mixed.5.json")["run"] / "logs/loss.csv")
    assert len(losses) == 4 and "consistency" in losses[0]


@pytest.mark.slow
def test_another_row_trains_that_row_alone_and_the_page_is_in_the_report(folder: Path) -> None:
    assert "Nothing to be done" in compare(folder, "ablation")
    more = [*ROWS, {"name": "adaptive", "strategies": {"adaptive": {"enabled": True, "recordings": 2}}}]
    log = compare(folder, "ablation", rows=more)
    assert log.count("rule ablation_train:") == 1 and "row=adaptive" in log
    compare(folder, "ablation", "--report", "report.html", rows=more)
    text = (folder / "report.html").read_text()
    assert "ablation.html" in text and "differences.png" in text


@pytest.mark.slow
def test_ones_own_clean_and_real_recordings(tmp_path: Path) -> None:
    for number in range(12):
        for kind in ("clean", "shelf"):
            path = tmp_path / kind / f"{number:02d}.wav"
            path.parent.mkdir(exist_ok=True)
            sf.write(path, speechlike(number + (100 if kind == "shelf" else 0), 3.0), 22_050)
    own = {"clean": str(tmp_path / "clean"), "training": {"real": str(tmp_path / "shelf")}}
    compare(tmp_path, "ablation", **own)  # type: ignore[arg-type]
    table = read_csv(tmp_path / "artifacts/ablation/ablation.csv")
    assert {row["condition"] for row in table} == {"unseen"} and {row["row"] for row in table} >= {"baseline", "mixed"}
