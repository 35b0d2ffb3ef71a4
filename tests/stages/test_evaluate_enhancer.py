"""The enhancer's quality table: unchanged inputs have the figures that they must have; everything absent has its reason."""

import csv
import json
from pathlib import Path

import pytest
import soundfile as sf

from audiorestorer import config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.stages.job import Job
from audiorestorer.stages.training import evaluate_enhancer
from tests.metrics.test_recognisers import clean
from tests.tiny_models import write_tiny_enhancer, write_tiny_mask_unet

QUICK = config.EnhanceSettings(regenerate_all=True, nfe=2, solver="euler")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quality")
    write_tiny_enhancer(folder / "enhancer.safetensors", 44_100)
    write_tiny_mask_unet(folder / "denoiser.safetensors", "denoise")
    path, text = clean("festival:cmu_us_slt_arctic_hts")
    (folder / "speech").mkdir()
    samples, rate = sf.read(path)
    samples, text = samples[:rate], " ".join(text.split()[:3])  # what is said in a second, or so
    sf.write(folder / "speech/a.wav", samples, rate)
    sf.write(folder / "speech/broken.wav", samples[: rate // 10], rate)
    (folder / "t.tsv").write_text(f"path\ttranscript\na.flac\t{text}\n")
    return folder


@pytest.fixture(scope="module")
def result(place: Path) -> dict:
    evaluate_enhancer.run(
        place / "speech", place / "enhancer.safetensors", place / "out", QUICK, Job(place / "store", "cpu"),
        denoiser=place / "denoiser.safetensors", transcripts=place / "t.tsv", conditions=["clean", "band_4khz", "noisy"],
    )  # fmt: skip
    return json.loads((place / "out/quality.json").read_text())


def figures(result: dict, condition: str, system: str) -> dict:
    (entry,) = [e for e in result["summary"] if (e["condition"], e["system"]) == (condition, system)]
    return {name: value["median"] for name, value in entry.items() if isinstance(value, dict) and "median" in value}


def test_an_unchanged_input_is_perfect_and_a_fault_shows_where_it_is(result: dict) -> None:
    same = figures(result, "clean", "input")
    assert same["lsd_db"] < 1e-3 and same["mel_db"] < 1e-3 and same["stoi"] > 0.9999
    narrow, noisy = figures(result, "band_4khz", "input"), figures(result, "noisy", "input")
    assert narrow["lsd_high_db"] > 10 > same["lsd_high_db"] and narrow["stoi"] > noisy["stoi"]
    assert noisy["stoi"] < 0.95 and noisy["wer"] >= narrow["wer"]


def test_an_untrained_vocoder_speaks_no_words_and_falls_back(result: dict) -> None:
    enhanced = figures(result, "clean", "enhanced")
    assert enhanced["wer_change"] > 0.3 and enhanced["wer"] > figures(result, "clean", "input")["wer"]
    (entry,) = [e for e in result["summary"] if (e["condition"], e["system"]) == ("clean", "enhanced")]
    assert entry["fallbacks"] == 1
    assert {e["system"] for e in result["summary"]} == {"input", "denoised", "enhanced", "denoiser"}


def test_what_is_missing_says_why(result: dict, place: Path) -> None:
    assert {item["id"] for item in result["items"] if item["status"] == "rejected"} == {
        f"broken.{condition}" for condition in ("clean", "band_4khz", "noisy")
    }
    missing = next(item for item in result["items"] if item["id"] == "a.noisy")["missing"]["input"]
    assert "--dnsmos" in missing["dnsmos_ovrl"]
    text = (place / "out/quality.md").read_text()
    assert "| noisy | enhanced | 1 |" in text and "Not measured: DNSMOS: not asked for" in text
    rows = list(csv.DictReader((place / "out/quality.csv").open()))
    assert len(rows) == 12 and all(row["lsd_db"] and not row["dnsmos_ovrl"] for row in rows)


def test_mistakes_are_said(place: Path) -> None:
    with pytest.raises(AudioRestorerError, match="conditions loud"):
        evaluate_enhancer.run(
            place / "speech", place / "enhancer.safetensors", place / "o", QUICK, Job(), conditions=["loud"]
        )
    with pytest.raises(AudioRestorerError, match="no such folder"):
        evaluate_enhancer.run(place / "nowhere", place / "enhancer.safetensors", place / "o", QUICK, Job())
