"""Snippets: the window, the choice, equal loudness, equal bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.config import SnippetSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.stages.batch import snippets

RATE = 16000


def make_batch(folder: Path, count: int = 2, *, clean: bool = True) -> tuple[Path, Path]:
    """Files of 4 s with speech-like noise from 2 s to 3 s."""
    rng = np.random.default_rng(0)
    rows, items = [], []
    for number in range(count):
        speech = np.zeros((1, 4 * RATE), np.float32)
        speech[:, 2 * RATE : 3 * RATE] = rng.standard_normal(RATE) * 0.05
        paths = {name: folder / f"{name}{number}.wav" for name in ("noisy", "path", "clean")}
        audio.write(paths["noisy"], speech + rng.standard_normal(speech.shape).astype(np.float32) * 0.1, RATE)
        audio.write(paths["path"], speech * 2, RATE)
        audio.write(paths["clean"], speech, RATE)
        names = {name: str(path) for name, path in paths.items() if clean or name != "clean"}
        rows.append(Item(id=f"i{number}", sr=RATE, **names))
        items.append({"id": f"i{number}", "input": "x.wav", "status": "ok", "si_sdr_improvement_db": float(number)})
    items.append({"id": "bad", "input": "bad.wav", "status": "rejected", "reason": "empty"})
    rows.append(Item(id="bad", noisy="bad.wav", status="rejected", reason="empty"))
    write_manifest(folder / "m.jsonl", rows)
    (folder / "metrics.json").write_text(json.dumps({"items": items}))
    return folder / "metrics.json", folder / "m.jsonl"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_run_cuts_the_same_seconds_and_is_deterministic(tmp_path: Path) -> None:
    metrics, manifest = make_batch(tmp_path)
    settings = SnippetSettings(seconds=1.0, count=5)
    for name in ("a", "b"):
        snippets.run(metrics, [manifest], tmp_path / f"{name}.json", tmp_path / name, settings)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    found = json.loads((tmp_path / "a.json").read_text())
    assert [entry["id"] for entry in found["items"]] == ["i0", "i1"]
    assert all(
        entry["start_sec"] == 2.0 and set(entry["files"]) == {"before", "after", "clean"} for entry in found["items"]
    )
    levels = {}
    for name, path in found["items"][0]["files"].items():
        samples, rate = sf.read(path)
        assert rate == RATE and len(samples) == RATE and np.abs(samples).max() < 1.0
        levels[name] = 20 * np.log10(np.sqrt(np.mean(samples[800:-800] ** 2)))
    assert max(levels.values()) - min(levels.values()) < 1.0


def test_without_reference_and_without_the_item(tmp_path: Path) -> None:
    metrics, manifest = make_batch(tmp_path, clean=False)
    snippets.run(metrics, [manifest], tmp_path / "o.json", tmp_path / "s", SnippetSettings(seconds=1.0, count=1))
    entry = json.loads((tmp_path / "o.json").read_text())["items"][0]
    assert set(entry["files"]) == {"before", "after"} and entry["start_sec"] == 2.0
    write_manifest(tmp_path / "none.jsonl", [])
    with pytest.raises(AudioRestorerError, match="in none of the manifests"):
        snippets.run(metrics, [tmp_path / "none.jsonl"], tmp_path / "o.json", tmp_path / "s", SnippetSettings())


def test_snippets_of_what_is_no_longer_chosen_go_and_somebody_s_files_stay(tmp_path: Path) -> None:
    metrics, manifest = make_batch(tmp_path)
    settings = SnippetSettings(seconds=1.0, count=5)
    snippets.run(metrics, [manifest], tmp_path / "o.json", tmp_path / "s", settings)
    rows = [row for row in read_manifest(manifest) if row.id != "i1"]
    write_manifest(manifest, [row.updated(clean=None) for row in rows])
    found = json.loads(metrics.read_text())["items"]
    metrics.write_text(json.dumps({"items": [item for item in found if item["id"] != "i1"]}))
    (tmp_path / "s/mine").mkdir()
    (tmp_path / "s/mine/notes.txt").write_text("mine")
    snippets.run(metrics, [manifest], tmp_path / "o.json", tmp_path / "s", settings)
    names = {"before.mp3", "after.mp3", "spectrogram.png", "detail.png"}
    assert set(tree(tmp_path / "s")) == {"mine/notes.txt", *(f"i0/{name}" for name in names)}
    assert not (tmp_path / "s/i1").exists()


def test_choice_is_worst_best_and_a_seeded_sample() -> None:
    items = [{"id": f"{n:03}", "status": "ok", "si_sdr_improvement_db": float(n)} for n in range(100)]
    chosen = snippets.choose({"items": items}, SnippetSettings(count=12))
    why = [reason for _, reason in chosen]
    assert why == ["worst"] * 4 + ["best"] * 4 + ["sample"] * 4
    assert [item["id"] for item, _ in chosen[:8]] == ["000", "001", "002", "003", "099", "098", "097", "096"]
    assert chosen == snippets.choose({"items": items[::-1]}, SnippetSettings(count=12))
    assert chosen[8:] != snippets.choose({"items": items}, SnippetSettings(count=12, seed=1))[8:]
    assert snippets.choose({"items": items}, SnippetSettings(count=0)) == []


def test_choice_without_reference_goes_by_music_and_without_figures_by_chance() -> None:
    items = [
        {"id": f"{n}", "status": "ok", "music_to_speech_in_db": 0.0, "music_to_speech_db": -float(n)} for n in range(9)
    ]
    chosen = snippets.choose({"items": items}, SnippetSettings(count=3))
    assert [(item["id"], why) for item, why in chosen][:2] == [("0", "worst"), ("8", "best")]
    blind = [{key.replace("speech", "speech_blind"): value for key, value in item.items()} for item in items]
    assert [item["id"] for item, _ in snippets.choose({"items": blind}, SnippetSettings(count=3))][:2] == ["0", "8"]
    bare = [{"id": f"{n}", "status": "ok"} for n in range(9)]
    assert {why for _, why in snippets.choose({"items": bare}, SnippetSettings(count=3))} == {"sample"}


def test_silence_and_other_rates_pass() -> None:
    silent = {"before": np.zeros((1, 100), np.float32), "after": np.full((1, 100), 0.5, np.float32)}
    matched, gains = snippets.match_loudness(silent, 8000)
    assert gains["before"] == 0.0 and np.isfinite(matched["after"]).all()
    assert [snippets.mp3_rate(rate) for rate in (4000, 16000, 44100, 96000)] == [8000, 16000, 44100, 48000]


def test_loud_peaks_stay_below_full_scale() -> None:
    clicks = np.zeros((1, RATE), np.float32)
    clicks[0, ::4000] = 1.0
    noise = np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32) * 0.1
    matched, gains = snippets.match_loudness({"before": clicks, "after": noise}, RATE)
    assert max(np.abs(version).max() for version in matched.values()) <= snippets.PEAK_CEILING + 1e-6
    assert snippets.loudness(clicks, RATE) + gains["before"] == pytest.approx(
        snippets.loudness(noise, RATE) + gains["after"]
    )


def test_quiet_and_short_versions_are_matched_and_a_residue_is_not_raised() -> None:
    rng = np.random.default_rng(0)
    for length in (RATE, RATE // 5):
        x = rng.standard_normal((1, length)).astype(np.float32) * 0.1
        given = {"before": x * 1e-4, "after": x * 1e-2}
        matched, _ = snippets.match_loudness(given, RATE)
        assert np.allclose(matched["before"], matched["after"], rtol=1e-3)
        for given in ({"before": x, "after": x * 1e-3}, {"before": x, "after": x * 1e-3, "clean": x * 1e-2}):
            matched, gains = snippets.match_loudness(given, RATE)
            assert gains["after"] == gains["before"] and np.allclose(1e3 * matched["after"], matched["before"])


def test_details_show_the_files_own_levels_and_the_target_that_was_met(tmp_path: Path, monkeypatch) -> None:
    metrics, manifest = make_batch(tmp_path, count=1)
    seen: list[tuple[float, float, float | None]] = []

    def spy(before: np.ndarray, after: np.ndarray, rate: int, target_lufs: float | None) -> bytes:
        seen.append((*(20 * np.log10(np.sqrt(np.mean(v[:, 800:-800] ** 2))) for v in (before, after)), target_lufs))
        return b"png"

    monkeypatch.setattr(snippets, "details", spy)
    row = next(row for row in read_manifest(manifest) if row.ok)
    for fields in ({"output_lufs": -23.000003, "target_lufs": -23.0}, {"output_lufs": -25.0, "target_lufs": -23.0}, {}):
        snippets.make(row.updated(**fields), tmp_path / "s", 1.0)
    own = [
        20 * np.log10(np.sqrt(np.mean(audio.read(path)[0][:, 2 * RATE + 800 : 3 * RATE - 800] ** 2)))
        for path in (row.noisy, row.path)
    ]
    assert np.allclose([levels[:2] for levels in seen], [own] * 3, atol=0.01)
    assert [target for *_, target in seen] == [-23.0, None, None]
