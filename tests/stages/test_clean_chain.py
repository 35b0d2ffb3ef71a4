"""fuse, postmask, loudness, evaluate and collect on files: physics, not outputs."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.config import EvaluateSettings, FuseSettings, LoudnessSettings, PostmaskSettings
from audiorestorer.dsp.loudness import measure
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.metrics.signal import Sums, si_sdr
from audiorestorer.stages import evaluate, fuse, loudness, postmask
from audiorestorer.stages.batch import collect
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests.tiny_models import write_model_json, write_tiny_fusion

RATE = 16_000


def voice(seed, seconds=3.0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(110 + 80 * rng.random() + 25 * np.sin(2 * np.pi * 0.9 * t)) / RATE
    x = sum(np.sin(k * phase) / k for k in range(1, 25)) * (np.sin(2 * np.pi * 2.7 * t + seed) > -0.4)
    return (0.1 * x)[None].astype(np.float32)


def music(seed, seconds=3.0):
    rng = np.random.default_rng(seed + 100)
    t = np.arange(int(seconds * RATE)) / RATE
    notes = sum(np.sin(2 * np.pi * f * t + rng.random()) for f in rng.uniform(200, 3000, 8))
    return (0.05 * notes)[None].astype(np.float32)


def quality(y, s):
    sums = Sums()
    sums.add(y, s)
    return si_sdr(sums)


def item(tmp_path, name, **signals):
    """An item whose files are these signals."""
    paths = {}
    for kind, x in signals.items():
        paths[kind] = tmp_path / f"{name}.{kind}.wav"
        audio.write(paths[kind], x, RATE)
    noisy = paths["noisy"]
    row = {"id": name, "noisy": str(noisy), "noisy_sha256": sha256_file(noisy), "output": f"{name}.wav", "sr": RATE}
    if "path" in paths:
        row |= {"path": str(paths["path"]), "sha256": sha256_file(paths["path"])}
    if "clean" in paths:
        row |= {"clean": str(paths["clean"]), "clean_sha256": sha256_file(paths["clean"])}
    return Item.model_validate(row)


SHARP = FuseSettings(method="max", power=2.0)


def fused(tmp_path, name, mixture, *estimates, settings=SHARP):
    manifests = []
    for number, estimate in enumerate(estimates):
        row = item(tmp_path, f"{name}", noisy=mixture, path=estimate)
        kept = tmp_path / f"{name}.{number}.wav"
        (tmp_path / f"{name}.path.wav").rename(kept)
        write_manifest(tmp_path / f"s{number}.jsonl", [row.updated(path=str(kept), stems={"vocals": str(kept)})])
        manifests.append(tmp_path / f"s{number}.jsonl")
    fuse.run(manifests, tmp_path / "f.jsonl", settings, Job(tmp_path / "store"))
    row = read_manifest(tmp_path / "f.jsonl")[0]
    assert row.stems is None and row.estimates is None
    return audio.read(row.path)[0]


def test_fused_oracle_stems_are_at_least_as_good_as_the_better_separator(tmp_path):
    gains = []
    for seed in range(6):
        s, m = voice(seed), music(seed)
        rng = np.random.default_rng(seed)
        # two separators that see the truth, each with an error of its own
        a, b = (s + 0.05 * rng.normal() * m + 0.002 * rng.normal(size=s.shape).astype(np.float32) for _ in range(2))
        alone = [fused(tmp_path, f"{seed}{k}", s + m, v) for k, v in enumerate((a, b))]
        both = fused(tmp_path, f"{seed}ab", s + m, a, b)
        gains.append(quality(both, s) - max(quality(alone[0], s), quality(alone[1], s)))
        assert quality(both, s) > quality(s + m, s) + 6
    assert np.median(gains) > -0.1


@pytest.mark.parametrize(
    ("method", "power", "share"), [("mean", 1.0, 0.4), ("max", 1.0, 0.6), ("max", 2.0, 0.36 / 0.52)]
)
def test_fusion_of_two_gains_is_the_formula(tmp_path, method, power, share):
    """Separators that turn the whole mixture down to 0.2 and 0.6: 0.6^2 / (0.6^2 + 0.4^2) is 0.692."""
    x = voice(4) + music(4)
    out = fused(tmp_path, "g", x, 0.2 * x, 0.6 * x, settings=FuseSettings(method=method, power=power))
    assert np.abs(out - np.float32(share) * x).max() < 1e-4 * np.abs(x).max()


def with_delay(x, samples):
    return np.pad(x, ((0, 0), (samples, 0)))[:, : x.shape[1]]


def test_the_average_keeps_the_estimates_phases(tmp_path):
    """A separator that moves the voice by three samples: the average is the average, to rounding; a mask cannot move anything."""
    s = voice(7)
    out = fused(tmp_path, "v", s + music(7), s, with_delay(s, 3), settings=FuseSettings(method="average"))
    np.testing.assert_allclose(out, (s + with_delay(s, 3)) / 2, atol=1e-6)


def learned(tmp_path, mixture, estimates, models, sources=("one", "two")):
    """Fused by a network that begins as the mean of its sources."""
    write_tiny_fusion(tmp_path / "f.safetensors", sources)
    record = write_model_json(tmp_path / "f.json", "f", "fusion", [tmp_path / "f.safetensors"])
    manifests = []
    for number, estimate in enumerate(estimates):
        row = item(tmp_path, f"l{number}", noisy=mixture, path=estimate).updated(id="l")
        manifests.append(tmp_path / f"l{number}.jsonl")
        write_manifest(manifests[-1], [row.updated(stems={"vocals": row.path})])
    fuse.run(
        manifests,
        tmp_path / "f.jsonl",
        FuseSettings(method="learned", model="f"),
        Job(tmp_path / "store"),
        record,
        models,
    )
    (row,) = read_manifest(tmp_path / "f.jsonl")
    return audio.read(row.path)[0]


def test_a_fusion_network_takes_its_sources_in_any_order_and_all_channels(tmp_path):
    s, m = np.repeat(voice(8), 2, axis=0), np.repeat(music(8), 2, axis=0)
    s[1] *= 0.5
    a, b = s + 0.2 * m, 0.8 * s
    out = learned(tmp_path / "x", s + m, [a, b], ["one", "two"])
    assert out.shape == s.shape
    # an untrained network is near the mean, and not it
    error = np.square(out - (a + b) / 2).sum() / np.square(out).sum()
    assert 1e-6 < error < 0.1
    turned = learned(tmp_path / "y", s + m, [b, a], ["two", "one"])
    np.testing.assert_array_equal(turned, out)


def test_with_a_model_that_it_does_not_know_the_estimates_are_averaged_and_it_is_said(tmp_path, caplog):
    s, m = voice(9), music(9)
    out = learned(tmp_path, s + m, [s, s + m], ["one", "three"])
    np.testing.assert_allclose(out, s + m / 2, atol=1e-6)
    assert "trained with one and two, not with one and three: the estimates are averaged" in caplog.text


def test_a_long_recording_goes_through_the_fusion_network_in_windows(tmp_path):
    """Forty seconds are four windows: no seam is louder than the network's own changes, and the length is exact."""
    s, m = voice(10, 40.0), music(10, 40.0)
    out = learned(tmp_path, s + m, [s + 0.1 * m, 0.9 * s], ["one", "two"])
    assert out.shape == s.shape
    error = np.square(out - (s + 0.1 * m + 0.9 * s) / 2).reshape(40, -1).sum(axis=1)
    assert error.max() < 20 * np.median(error)


def test_pure_speech_passes_fuse_and_postmask_unchanged(tmp_path):
    s = voice(1)
    out = fused(tmp_path, "p", s, s, 0.5 * s)
    assert 10 * np.log10(np.mean((out - s) ** 2) / np.mean(s**2)) < -60
    write_manifest(tmp_path / "d.jsonl", [item(tmp_path, "q", noisy=s, path=out)])
    postmask.run(tmp_path / "d.jsonl", tmp_path / "m.jsonl", PostmaskSettings(floor=0.0), Job(tmp_path / "store"))
    masked = audio.read(read_manifest(tmp_path / "m.jsonl")[0].path)[0]
    assert 10 * np.log10(np.mean((masked - s) ** 2) / np.mean(s**2)) < -60


@pytest.mark.parametrize("gain", [0.001, 100.0])
def test_level_scales_through_fuse(tmp_path, gain):
    s, m = voice(2), music(2)
    plain = fused(tmp_path, "a", s + m, s)
    scaled = fused(tmp_path, "b", np.float32(gain) * (s + m), np.float32(gain) * s)
    assert np.abs(scaled / gain - plain).max() < 1e-4 * np.abs(plain).max()


def test_postmask_lowers_what_is_left_of_the_music_but_not_below_the_floor(tmp_path):
    s, m = voice(3), music(3)
    leak = s + 0.1 * m
    write_manifest(tmp_path / "d.jsonl", [item(tmp_path, "q", noisy=s + m, path=leak)])
    for floor in (0.0, 1.0):
        postmask.run(tmp_path / "d.jsonl", tmp_path / "m.jsonl", PostmaskSettings(floor=floor), Job(tmp_path / "store"))
        out = audio.read(read_manifest(tmp_path / "m.jsonl")[0].path)[0]
        if floor == 1.0:
            assert np.abs(out - leak).max() < 1e-5
        else:
            assert quality(out, s) > quality(leak, s) + 2


def test_postmask_leaves_a_kept_band_alone(tmp_path):
    t = np.arange(3 * RATE) / RATE
    high = (0.1 * np.sin(2 * np.pi * 7000 * t))[None].astype(np.float32)
    row = item(tmp_path, "q", noisy=high * 5, path=high)
    for high_band, want in (("keep", 1.0), ("mask", 0.2)):
        write_manifest(tmp_path / "d.jsonl", [row.updated(high_band=high_band, denoiser_nyquist_hz=4000)])
        postmask.run(tmp_path / "d.jsonl", tmp_path / "m.jsonl", PostmaskSettings(floor=0.0), Job(tmp_path / "store"))
        out = audio.read(read_manifest(tmp_path / "m.jsonl")[0].path)[0]
        ratio = np.sqrt(np.mean(out[:, 4000:-4000] ** 2) / np.mean(high[:, 4000:-4000] ** 2))
        assert ratio == pytest.approx(want, abs=0.02)


def levelled(tmp_path, x, rate=RATE, subtype="PCM_16", suffix=".wav", **settings):
    source = tmp_path / f"in{suffix}"
    sf.write(source, np.clip(x.T, -1, 1), rate, subtype=subtype if suffix != ".mp3" else None)
    path = tmp_path / "v.wav"
    audio.write(path, x, rate)
    row = Item(id="x", noisy=str(source), path=str(path), sha256=sha256_file(path), noisy_sha256=sha256_file(source))
    out_suffix = suffix if suffix != ".mp3" else ".flac"
    write_manifest(tmp_path / "i.jsonl", [row.updated(output=f"x{out_suffix}")])
    loudness.run(tmp_path / "i.jsonl", tmp_path / "o.jsonl", LoudnessSettings(**settings), Job(tmp_path / "store"))
    return read_manifest(tmp_path / "o.jsonl")[0]


@pytest.mark.parametrize(
    ("subtype", "suffix", "want"),
    [
        ("PCM_16", ".wav", ("WAV", "PCM_16")),
        ("PCM_24", ".wav", ("WAV", "PCM_24")),
        ("FLOAT", ".wav", ("WAV", "FLOAT")),
        ("PCM_24", ".flac", ("FLAC", "PCM_24")),
        ("", ".mp3", ("FLAC", "PCM_16")),
    ],
)
def test_loudness_reaches_its_target_in_the_input_s_format(tmp_path, subtype, suffix, want):
    x = np.repeat(voice(4), 2, axis=0)
    row = levelled(tmp_path, x, subtype=subtype, suffix=suffix)
    info = audio.probe(row.path)
    assert (info.format, info.subtype) == want and info.frames == x.shape[1] and info.channels == 2
    level = measure(audio.blocks(row.path), RATE, 2)
    assert level.lufs == pytest.approx(-23, abs=0.1) and level.true_peak_dbtp <= -1
    assert row.output_lufs == pytest.approx(level.lufs) and not row.limited


def test_low_bits_of_24_bit_output_are_really_there(tmp_path):
    row = levelled(tmp_path, voice(4), subtype="PCM_24")
    samples, _ = sf.read(row.path, dtype="int32")
    assert (samples >> 8 & 0xFF).any()


@pytest.mark.parametrize("target", [-16, -9])
def test_peaky_speech_hits_target_and_ceiling_together_or_says_so(tmp_path, target):
    x = voice(5)
    x[:, 8000:40000:2500] = 0.9
    row = levelled(tmp_path, x, target_lufs=target, true_peak_dbtp=-3)
    level = measure(audio.blocks(row.path), RATE, 1)
    assert level.true_peak_dbtp <= -3 and row.limited
    assert abs(level.lufs - target) <= 0.1 or "short of the target" in row.notes["loudness"]
    if target == -16:
        assert level.lufs == pytest.approx(target, abs=0.1)


def test_silence_stays_silent_and_quiet_files_keep_the_gain_limit(tmp_path):
    row = levelled(tmp_path, np.zeros((1, RATE), np.float32))
    assert row.gain_db == 0 and "no loudness" in row.notes["loudness"]
    assert not np.any(audio.read(row.path)[0])
    row = levelled(tmp_path, voice(1) * np.float32(10 ** (-30 / 20)), max_gain_db=6, subtype="FLOAT")
    assert row.gain_db == 6 and "max_gain_db" in row.notes["loudness"]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A shard that was evaluated once for all tests."""
    tmp_path = tmp_path_factory.mktemp("evaluated")
    s, m = voice(6, 1.5), music(6, 1.5)
    good = item(tmp_path, "good", noisy=s + m, path=3 * (s + 0.05 * m), clean=s)
    alone = item(tmp_path, "alone", noisy=s + m, path=s)
    other = item(tmp_path, "other", noisy=s + m, path=s, clean=s[:, : RATE // 2])
    bad = Item(id="bad", noisy="bad.wav", relative="b|a`d.wav").rejected("empty")
    good = good.updated(conditions={"snr_db": "5"}, transcript="hello")
    write_manifest(tmp_path / "l.jsonl", [good, alone, other, bad])
    evaluate.run(
        tmp_path / "l.jsonl", tmp_path / "e.jsonl", EvaluateSettings(language_model="both"), Job(tmp_path / "store")
    )
    collect.run([tmp_path / "e.jsonl"], tmp_path / "m.json", tmp_path / "m.csv")
    return tmp_path


@pytest.fixture
def measured(evaluated, tmp_path):
    """A copy of the evaluated shard, and its metrics."""
    shutil.copytree(evaluated, tmp_path, dirs_exist_ok=True)
    for name in ("l.jsonl", "e.jsonl"):
        (tmp_path / name).write_text((tmp_path / name).read_text().replace(str(evaluated), str(tmp_path)))
    return tmp_path, json.loads((tmp_path / "m.json").read_text())


def test_figures_are_right_and_absent_ones_have_reasons(measured):
    _, result = measured
    rows = {row["id"]: row for row in result["items"]}
    good = rows["good"]
    assert good["si_sdr_improvement_db"] == pytest.approx(26, abs=1)
    assert good["stoi"] > 0.9 and good["stoi"] >= good["stoi_in"] and good["lsd_db"] < good["lsd_in_db"]
    assert good["music_to_speech_in_db"] - good["music_to_speech_db"] == pytest.approx(26, abs=1.5)
    assert 0 <= good["residual_ratio"] < 0.01 and good["composite"] > 95
    assert "language model" in good["missing"]["wer"] and "wer" not in good  # no sentences were given
    assert good["wer_open"] >= 1 and set(good["heard"]) == {
        "wer_open",
        "wer_open_in",
        "wer_open_clean",
    }  # nobody speaks there
    assert "transcript" in rows["alone"]["missing"]["wer_open"]
    assert (
        "not here" in good["missing"]["music_presence"] and "evaluation_models" in good["missing"]["music_presence_in"]
    )
    assert "no clean reference" in rows["alone"]["missing"]["si_sdr_db"] and "lufs" in rows["alone"]
    assert "0.50 s" in rows["other"]["missing"]["stoi"]


def test_summary_counts_and_rejected(measured):
    tmp_path, result = measured
    assert result["counts"] == {"ok": 3, "rejected": 1}
    assert result["rejected"] == [{"id": "bad", "input": "b|a`d.wav", "reason": "empty"}]
    figure = result["summary"]["si_sdr_improvement_db"]
    assert figure["n"] == 1 and figure["n_missing"] == 2 and figure["median"] == pytest.approx(26, abs=1)
    assert result["summary"]["wer"] == {"n": 0, "n_missing": 3, "missing_reason": "no transcript (transcripts)"}
    assert result["paired"]["stoi"]["n"] == 1 and "wilcoxon_p" not in result["paired"]["stoi"]
    assert result["summary"]["si_sdr_improvement_db_by_snr"]["5"]["n"] == 1
    table = pd.read_csv(tmp_path / "m.csv").set_index("id")
    assert len(table) == 4 and np.isnan(table.loc["alone", "si_sdr_db"]) and table.loc["good", "snr_db"] == 5


def test_adding_a_metric_computes_only_that_metric(measured, monkeypatch):
    tmp_path, _ = measured
    before = {path.name for path in (tmp_path / "store/evaluate").glob("*/??/*.json")}
    few = EvaluateSettings(metrics=["loudness", "signal"])
    evaluate.run(tmp_path / "l.jsonl", tmp_path / "e2.jsonl", few, Job(tmp_path / "store"))
    assert {path.name for path in (tmp_path / "store/evaluate").glob("*/??/*.json")} == before
    row = next(row for row in read_manifest(tmp_path / "e2.jsonl") if row.id == "good")
    assert "stoi" not in row.metrics and "si_sdr_db" in row.metrics


def test_a_new_output_measures_mixture_and_reference_no_second_time(measured):
    tmp_path, _ = measured
    count = {group: len(list((tmp_path / "store/evaluate" / group).glob("??/*.json"))) for group in ("wer", "dnsmos")}
    rows = sorted(read_manifest(tmp_path / "l.jsonl"), key=lambda row: row.id != "good")
    changed = item(tmp_path, "good2", noisy=voice(6, 1.5), path=2 * voice(6, 1.5)).path
    rows[0] = rows[0].updated(path=changed, sha256=sha256_file(changed))
    write_manifest(tmp_path / "l2.jsonl", rows)
    evaluate.run(
        tmp_path / "l2.jsonl", tmp_path / "e2.jsonl", EvaluateSettings(language_model="both"), Job(tmp_path / "store")
    )
    for group, before in count.items():
        assert len(list((tmp_path / "store/evaluate" / group).glob("??/*.json"))) == before + 1


def test_packages_that_are_not_installed_are_reasons(measured, monkeypatch):
    tmp_path, _ = measured
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    settings = EvaluateSettings(metrics=["loudness", "pesq", "dnsmos", "wer", "panns"], language_model="both")
    evaluate.run(tmp_path / "l.jsonl", tmp_path / "e3.jsonl", settings, Job(tmp_path / "store"))
    row = next(row for row in read_manifest(tmp_path / "e3.jsonl") if row.id == "good")
    assert set(row.metrics) == {"lufs", "lufs_in", "true_peak_dbtp"}
    for name in ("pesq", "pesq_in", "dnsmos_ovrl_in", "dnsmos_sig", "wer_in", "wer_open_clean"):
        assert "not installed" in row.missing[name], name


def test_a_recogniser_that_was_not_fetched_is_an_error(measured):
    tmp_path, _ = measured
    with pytest.raises(AudioRestorerError, match=r"--recogniser.*'whisper_base_en'"):
        chosen = EvaluateSettings(recogniser="whisper_base_en")
        evaluate.run(tmp_path / "l.jsonl", tmp_path / "e2.jsonl", chosen, Job(tmp_path / "store"))


def test_manifests_of_different_items_are_refused():
    with pytest.raises(AudioRestorerError, match="same items"):
        fuse.join([[Item(id="a", noisy="a")], [Item(id="b", noisy="b")]])
