"""The sanity suite: green on generated audio, and each broken thing turns its own light red."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from audiorestorer.datasets import generated
from audiorestorer.datasets.mixtures import MixtureDataset
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.stages.training import sanity_suite
from audiorestorer.training import module, sanity

RATE = 16000


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> sanity.Subject:
    folder = tmp_path_factory.mktemp("sanity")
    manifest, noise = generated.training_set(folder / "data", sample_rate=RATE)
    (folder / "work").mkdir()
    return sanity.Subject(manifest, noise, RATE, True, folder / "work")


QUICK = (
    "manifest",
    "noise coverage",
    "SNR distribution",
    "mixer round trip",
    "STFT and inverse",
    "callbacks",
    "tiny epoch and CSV",
)


@pytest.mark.parametrize("name", QUICK)
def test_green_on_generated_audio(subject: sanity.Subject, name: str) -> None:
    found = sanity.CHECKS[name](subject)
    assert found.ok and found.figure is not None, found


OVERFIT = "losses and micro overfit"


def test_the_micro_overfit_gains_what_a_network_that_learns_gains(subject: sanity.Subject) -> None:
    result = sanity.CHECKS[OVERFIT](subject)
    assert result.ok and result.figure is not None and result.figure > 2 * sanity.SHORT.least_gain_db, result


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["the loss has the wrong sign", "the learning rate is 0", "targets are shuffled"])
def test_a_training_that_does_not_learn_is_red(
    subject: sanity.Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    honest_sum, honest_settings, honest_item = module.weighted, sanity._settings, MixtureDataset.__getitem__

    def wrong_sign(*arguments: Any) -> tuple[Any, Any]:
        total, parts = honest_sum(*arguments)
        return -total, parts

    if "sign" in broken:
        monkeypatch.setattr(module, "weighted", wrong_sign)
    elif "rate" in broken:
        still = {"learning_rate": 1e-12}
        monkeypatch.setattr(sanity, "_settings", lambda *a, **k: honest_settings(*a, **k, **still))
    else:

        def shuffled(self: MixtureDataset, index: int) -> Any:
            return honest_item(self, index)[0], honest_item(self, (index + 1) % len(self))[1]

        monkeypatch.setattr(MixtureDataset, "__getitem__", shuffled)
    result = sanity.CHECKS[OVERFIT](dataclasses.replace(subject, work=tmp_path))
    assert not result.ok and result.figure is not None and result.figure < 0.5 * sanity.SHORT.least_gain_db, result


@pytest.mark.slow
def test_the_long_form_trains_the_larger_network(
    subject: sanity.Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of its steps: all 300 take a quarter of an hour on one core."""
    long = dataclasses.replace(subject, work=tmp_path, long=True)
    assert sanity.LONG.steps == 300 and sanity._settings(long, "n").network.n_fft == 512
    monkeypatch.setattr(sanity, "LONG", dataclasses.replace(sanity.LONG, steps=30))
    result = sanity.CHECKS[OVERFIT](long)
    assert result.detail == "4 examples, 30 steps" and result.figure is not None


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_the_short_network_is_as_large_at_any_rate(rate: int, tmp_path: Path) -> None:
    network = sanity._settings(sanity.Subject(tmp_path, None, rate, True, tmp_path), "n").network
    MaskUNetConfig(**network.model_dump())
    assert network.n_fft // 2 // network.frequency_fold == sanity.BANDS
    assert 60 < rate / network.hop_length < 130  # frames per second


def changed(subject: sanity.Subject, path: Path, **change: Any) -> sanity.Subject:
    """The same subject with the first row of its manifest changed."""
    rows = [json.loads(line) for line in subject.manifest.read_text().splitlines()]
    for row in rows:
        row["clean"] = str(subject.manifest.parent / row["clean"])
    rows[0] |= change
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return sanity.Subject(path, subject.noise, RATE, subject.mono, subject.work)


def test_a_leak_is_red(subject: sanity.Subject, tmp_path: Path) -> None:
    bad = changed(subject, tmp_path / "m.jsonl", speaker="anna")
    rows = [json.loads(line) for line in bad.manifest.read_text().splitlines()]
    rows[-1]["speaker"] = "anna"  # valid
    bad.manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = sanity.manifest_check(bad)
    assert not found.ok and "speaker anna" in found.detail


def test_what_breaks_is_red_and_the_rest_goes_on(
    subject: sanity.Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = changed(subject, tmp_path / "m.jsonl", clean="gone.wav")
    few = {name: sanity.CHECKS[name] for name in ("manifest", "noise coverage")}
    monkeypatch.setattr(sanity, "CHECKS", few)
    said: list[str] = []
    manifest, noise = sanity.run_checks(bad, said.append)
    assert not manifest.ok and "gone.wav" in manifest.detail and noise.ok
    assert not sanity.as_json([manifest, noise])["ok"] and any("RED" in line for line in said)


def test_too_few_noises_are_red(subject: sanity.Subject, tmp_path: Path) -> None:
    assert subject.noise is not None
    rows = [json.loads(line) for line in subject.noise.read_text().splitlines()]
    kept = [{**row, "path": str(subject.noise.parent / row["path"])} for row in rows if row["class"] == "hiss"]
    (tmp_path / "n.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    found = sanity.noise_check(sanity.Subject(subject.manifest, tmp_path / "n.jsonl", RATE, True, subject.work))
    assert not found.ok and found.figure == 1


def test_a_mixer_that_lies_is_red(subject: sanity.Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = sanity.ManifestMixer.example

    def lying(self: Any, epoch: int, index: int) -> Any:
        example = honest(self, epoch, index)
        return type(example)(example.mixture, example.target, example.snr_db + 0.2)

    monkeypatch.setattr(sanity.ManifestMixer, "example", lying)
    found = sanity.round_trip_check(subject)
    assert not found.ok and found.figure == pytest.approx(0.2, abs=0.01)


def test_stage_writes_json_and_html_and_says_red(
    subject: sanity.Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sanity, "CHECKS", {"manifest": sanity.manifest_check})
    arguments: dict[str, Any] = {
        "noise": subject.noise,
        "sample_rate": RATE,
        "out_json": tmp_path / "s.json",
        "out_html": tmp_path / "s.html",
    }
    assert sanity_suite.run(subject.manifest, **arguments)
    assert not sanity_suite.run(subject.manifest, **{**arguments, "sample_rate": 44100})
    result = json.loads((tmp_path / "s.json").read_text())
    assert not result["ok"] and "the network wants 44100" in result["checks"][0]["detail"]
    assert 'class="bad"' in (tmp_path / "s.html").read_text()
