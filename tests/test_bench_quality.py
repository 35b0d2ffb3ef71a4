"""scripts/bench/bench_quality.py: it measures what the pipeline does, aligns its peers, and says what is missing."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.config import Config, FuseSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.stages import denoise, fuse, postmask, separate
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from scripts.bench import bench_quality, quality_fusion, quality_peers, quality_systems, quality_tables
from scripts.bench.quality_figures import ClipMeter
from scripts.bench.quality_sets import Clip, Pair, PairSet, parsed
from tests.tiny_models import write_model_json, write_tiny_mask_unet

ROOT = Path(__file__).parents[1]

RATE = 16_000


def voice(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    return np.resize(quality_peers.probe(rate)[0], int(seconds * rate)).astype(np.float32)


def notes(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.05 * sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(200, 3000, 6))).astype(np.float32)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`noisy` and `clean` with two good pairs, a silent one and one without a reference."""
    for name in ("noisy", "clean"):
        (tmp_path / name / "in").mkdir(parents=True)
    for number in range(2):
        clean = voice()
        sf.write(tmp_path / f"clean/in/{number}.flac", clean, RATE)
        sf.write(tmp_path / f"noisy/in/{number}.wav", clean + notes(3.0, number), RATE, "FLOAT")
    sf.write(tmp_path / "clean/silent.flac", np.zeros(RATE), RATE)
    sf.write(tmp_path / "noisy/silent.wav", notes(1.0, 5), RATE)
    sf.write(tmp_path / "noisy/lonely.wav", notes(1.0, 6), RATE)
    return tmp_path


def bench(tmp_path: Path, *systems: quality_systems.System) -> bench_quality.Bench:
    return bench_quality.Bench(systems, ClipMeter(False, None, 1), tmp_path / "out", 1)


def test_the_input_improves_nothing_bad_pairs_are_named_and_nothing_is_done_twice(folders: Path) -> None:
    calls = []

    def half(clip: Clip) -> np.ndarray:
        calls.append(clip.pair.name)
        return clip.part("half", lambda _: clip.noisy / 2)  # type: ignore[no-any-return]

    given = parsed(f"mine={folders / 'noisy'}:{folders / 'clean'}")
    systems = (bench_quality.INPUT, quality_systems.System("half", "ours", "half", run=half))
    found = bench_quality.measured(bench(folders, *systems), given)
    assert [row["name"] for row in found["pairs"]] == ["in/0", "in/1"]
    assert {row["name"]: row["reason"] for row in found["unusable"]}.keys() == {"silent", "lonely.wav"}
    for row in found["systems"].values():  # SI-SDR does not see a gain
        assert row["figures"]["si_sdr_improvement_db"] == pytest.approx(0, abs=1e-4)
        assert 0 < row["figures"]["stoi"] < 1 and row["rtf_cpu"] >= 0
    assert sorted(calls) == ["in/0", "in/1"]
    again = bench_quality.measured(bench(folders, *systems), given)
    assert sorted(calls) == ["in/0", "in/1"] and again["systems"] == found["systems"]


def test_of_clean_speech_alone_there_is_no_improvement_to_report(folders: Path) -> None:
    given = parsed(f"speech={folders / 'clean/in'}", alone=True)
    bound = quality_systems.System("bound", "ours", "bound", run=lambda clip: clip.noisy, mixtures_only=True)
    found = bench_quality.measured(bench(folders, bench_quality.INPUT, bound), given)
    figures = found["systems"]["input"]["figures"]
    assert figures["si_sdr_db"] == 100 and figures["lsd_db"] == 0 and "si_sdr_improvement_db" not in figures
    assert found["systems"]["bound"]["n"] == 0
    table = quality_tables.set_table(found, [{"name": one, "weights_bytes": 0} for one in ("input", "bound")])
    assert "SI-SDR out" in table and "bound" not in table


def test_the_whole_chain_is_what_the_stages_write(tmp_path: Path) -> None:
    separators = [one.model_dump() for one in quality_systems.PILOTS]
    config = Config.model_validate({
        "separators": separators, "fuse": {"method": "mean"}, "denoise": {"enabled": True},
        "postmask": {"enabled": True, "beta": 1.5, "floor": 0.1},
    })  # fmt: skip
    tiny = tmp_path / "tiny.safetensors"
    write_tiny_mask_unet(tiny)
    names = [*(one.model for one in config.separators), str(config.denoise.model)]
    noisy = np.stack([voice(2.5, 44_100), voice(2.5, 44_100)]).mean(axis=0) + np.resize(notes(3.0, 1), 110_250)
    for name, signal in (("noisy", noisy), ("clean", voice(2.5, 44_100))):
        audio.write(tmp_path / f"{name}.wav", signal[None].astype(np.float32), 44_100)

    networks = quality_systems.Networks(config, dict.fromkeys(names, tiny), tmp_path, tmp_path, 1)
    systems = {one.name: one for one in quality_systems.our_systems(config, networks, [])}
    with Clip(Pair("x", tmp_path / "noisy.wav", tmp_path / "clean.wav")) as clip:
        ours, cost = clip.made_by(systems[quality_systems.WHOLE].run)  # type: ignore[arg-type]
        before, less = clip.made_by(systems[f"fusion: {quality_systems.named_fusion(config.fuse)}, denoised"].run)  # type: ignore[arg-type]
    assert 0 < less.cpu < cost.cpu  # parts that were made for one row count in the other too

    path = tmp_path / "noisy.wav"
    sha256, store, model = sha256_file(path), tmp_path / "store", None
    row = Item(id="x", noisy=str(path), noisy_sha256=sha256, sha256=sha256, sr=44_100, channels=1)
    write_manifest(tmp_path / "0.jsonl", [row])
    model = write_model_json(tmp_path / "m.json", "tiny", "mask_network", [tiny])
    for one in config.separators:
        separate.run(tmp_path / "0.jsonl", tmp_path / f"{one.name}.jsonl", one, Job(store, "cpu"), model)
    fuse.run(
        [tmp_path / f"{one.name}.jsonl" for one in config.separators], tmp_path / "f.jsonl", config.fuse, Job(store)
    )
    denoise.run(tmp_path / "f.jsonl", tmp_path / "d.jsonl", config.denoise, Job(store, "cpu"), model)
    postmask.run(tmp_path / "d.jsonl", tmp_path / "p.jsonl", config.postmask, Job(store))
    for manifest, made in (("d", before), ("p", ours)):
        written = audio.read(str(read_manifest(tmp_path / f"{manifest}.jsonl")[0].path))[0]
        assert np.array_equal(written, made)
    assert not np.array_equal(before, ours) and not np.array_equal(before, noisy[None])


def test_an_oracle_choice_is_better_than_the_maximum_and_the_ideal_mask_than_both(tmp_path: Path) -> None:
    config = Config()
    clean, mixed = voice(), voice() + 2 * notes(3.0, 3)
    for name, signal in (("noisy", mixed), ("clean", clean)):
        audio.write(tmp_path / f"{name}.wav", signal[None], RATE)
    networks = quality_systems.Networks(config, {}, tmp_path, tmp_path, 1)
    chains = {
        bound: quality_systems.chain_system(
            bound, quality_systems.Chain(quality_systems.PILOTS, FuseSettings(method="max", power=2.0), instead=bound), networks
        )
        for bound in ("", "oracle", "ideal")
    }  # fmt: skip
    pairs = PairSet("mine", [Pair("x", tmp_path / "noisy.wav", tmp_path / "clean.wav")])
    found = bench_quality.measured(bench(tmp_path, *chains.values()), pairs)["systems"]
    gain = {name: row["figures"]["si_sdr_improvement_db"] for name, row in found.items()}
    assert gain[""] + 0.1 < gain["oracle"] < gain["ideal"]


def test_masks_of_the_bounds() -> None:
    low, high = np.float32([0.2, 0.9]), np.float32([0.4, 0.5])
    chosen = quality_fusion.chosen_mask
    assert np.allclose(chosen("oracle", [low, high], np.float32([0.0, 0.6])), [0.2, 0.5])
    with pytest.raises(KeyError):
        chosen("sum", [low], low)


@pytest.mark.parametrize("late", [-40, 0, 37])
def test_a_peers_delay_is_measured_and_taken_out(late: int) -> None:
    kernel = np.hanning(31) / np.hanning(31).sum()

    def peer(signal: np.ndarray, rate: int) -> np.ndarray:
        soft = np.convolve(signal[0], kernel, mode="same")
        return (0.5 * np.pad(soft, (max(late, 0), max(-late, 0)))[max(-late, 0) :])[None].astype(np.float32)

    aligned = quality_peers.Aligned(peer)
    given = voice(1.0)[None]
    out = aligned(given, RATE)
    assert aligned.delays == {RATE: late}
    assert out.shape == given.shape and quality_peers.lag_of(out, given, RATE) == 0


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_afftdn_comes_out_aligned(rate: int) -> None:
    pytest.importorskip("av")
    peer, given = quality_peers.afftdn("nf=-25"), voice(2.0, rate)[None]
    raw = peer(np.pad(given, ((0, 0), (0, rate))), rate)
    aligned = quality_peers.Aligned(peer)
    out = aligned(given, rate)
    assert quality_peers.lag_of(raw, given, rate) > 0.005 * rate  # as FFmpeg gives it, it is late
    assert out.shape == given.shape and quality_peers.lag_of(out, given, rate) == 0
    assert np.corrcoef(out[0], given[0])[0, 1] > 0.9


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_rnnoise_is_two_of_its_frames_late_at_any_rate(rate: int) -> None:
    pytest.importorskip("pyrnnoise", reason="requirements-peers.txt is not installed")
    assert quality_peers.Aligned(quality_peers.rnnoise).measure(rate) == 0.02 * rate


def test_a_peer_that_is_missing_says_why_and_has_no_figure(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_peers, "PEERS", {"nobody's": ("no_such_peer", quality_peers.rnnoise)})
    networks = quality_systems.Networks(Config(), {}, folders / "empty", folders, 1)
    systems = [bench_quality.INPUT, *quality_peers.peer_systems(networks)]
    missing = {one.name: one.missing for one in systems if one.run is None}
    present = {name for name in quality_peers.RELEASED if networks.registry.get(name).source.startswith("package:")}
    assert missing.keys() | present == {"nobody's", *quality_peers.RELEASED}
    assert "no_such_peer" in missing["nobody's"] and "dns64-a7761ff99a7d5bb6.th" in missing["dns64"]
    found = bench_quality.measured(bench(folders, *systems), parsed(f"m={folders / 'noisy'}:{folders / 'clean'}"))
    assert found["systems"]["nobody's"]["figures"] == {}
    table = quality_tables.set_table(found, [{"name": one.name, "weights_bytes": 0} for one in systems])
    row = next(line for line in table.splitlines() if line.startswith("| nobody's"))
    assert "no_such_peer" in row
    assert set(row.split("|")[2:-1]) == {" – "}


def test_a_system_that_fails_on_a_file_has_the_reason_there(folders: Path) -> None:
    def wrong(clip: Clip) -> np.ndarray:
        return clip.noisy[:, 1:]

    given = parsed(f"m={folders / 'noisy'}:{folders / 'clean'}")
    found = bench_quality.measured(bench(folders, quality_systems.System("cut", "peer", "cut", run=wrong)), given)
    assert found["systems"]["cut"]["failed"] == 2 and "came out of" in found["systems"]["cut"]["missing"]


@pytest.mark.parametrize(
    ("text", "match"),
    [("x=/nowhere/a:/nowhere/b", "no such folder"), ("x", "NAME=NOISY_DIR"), ("x={}/noisy", "no pairs X_noisy")],
)
def test_a_set_that_is_not_there_is_one_clear_error(folders: Path, text: str, match: str) -> None:
    with pytest.raises(AudioRestorerError, match=match):
        parsed(text.format(folders))
    with pytest.raises(SystemExit, match="no such folder"):
        bench_quality.main(["--data", "/nowhere", "--out", str(folders / "out")])


def test_targets_are_met_missed_or_not_measured() -> None:
    figures = {"si_sdr_improvement_db": 10.1, "stoi": 0.89}
    found = {
        "name": "mixtures", "systems": {quality_tables.WHOLE: {"figures": figures}},
        "pairs": [{"seconds": 10.0, "systems": {quality_tables.WHOLE: {"cpu_sec": cost}}} for cost in (0.2, 1.0)],
    }  # fmt: skip
    rows = {row[0]: row[2:] for row in quality_tables.targets({"sets": [found], "embedded_bytes": 25_000_000})}
    assert rows["mixtures: SI-SDRi, dB"] == ["10.10", "yes"] and rows["mixtures: STOI"] == ["0.890", "no"]
    assert rows["mixtures: PESQ-wb"] == ["not measured", "?"] == rows["noisy: DNSMOS OVRL"]
    assert rows["RTF of the whole chain"] == ["0.060", "yes"] and rows["all embedded weights, MB"] == ["25.0", "no"]
