"""Data of the enhancer: physics of the distortions, rooms at their rate and in their place, scales, seeds, splits, bad files."""

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy import signal as scipy_signal
from torch.utils.data import DataLoader

from audiorestorer.datasets.enhancement import distortions
from audiorestorer.datasets.enhancement.distortions import (
    DistortionSettings,
    align,
    distort,
    peaking,
    reverb_response,
    rms,
    through,
)
from audiorestorer.datasets.enhancement.mixing import EnhancementDataset, EnhancementFolder, EnhancementSettings
from audiorestorer.datasets.restoration import set_epoch
from audiorestorer.errors import AudioRestorerError

RATE = 8000
ROOM_RATE = 16_000
ECHO_SEC = 0.05
SETTINGS = EnhancementSettings(segment_sec=0.5, rir_rate_hz=ROOM_RATE, valid_share=0.3)


def voice(seconds: float, rate: int, pitch: float) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 15))
    return 0.1 * buzz * (1.1 + np.sin(2 * np.pi * 3 * time))


def room(direct: int = 200, rate: int = ROOM_RATE) -> np.ndarray:
    """A direct sound, an echo that is louder, and some quiet before them."""
    response = np.zeros(int(0.2 * rate))
    response[direct], response[direct + int(ECHO_SEC * rate)] = 0.4, 0.6
    return response


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enhancement")
    rng = np.random.default_rng(0)
    for speaker in range(6):
        for take in range(2):
            path = folder / "fg" / f"speaker_{speaker}" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            rate = RATE if take else 2 * RATE
            sf.write(path, voice(1.5, rate, 90 + 20 * speaker), rate, subtype="FLOAT")
    for number in range(5):
        path = folder / "bg" / f"{number}.flac"
        path.parent.mkdir(exist_ok=True)
        sf.write(path, 0.05 * rng.standard_normal((int(0.3 * RATE), 1 + number % 2)), RATE)
    (folder / "rir").mkdir()
    np.save(folder / "rir" / "a.npy", room())
    np.save(folder / "rir" / "b.npy", np.stack([room(), room(300)]).astype(np.float32))
    return folder


def dataset(root: Path, split: str = "train", seed: int = 1, size: int = 40, **changes: object) -> EnhancementDataset:
    settings = SETTINGS.model_validate({**SETTINGS.model_dump(), **changes})
    return EnhancementDataset(EnhancementFolder(root, RATE, settings), split, size, seed)  # type: ignore[arg-type]


def lag(a: np.ndarray, b: np.ndarray) -> int:
    """Samples by which b comes after a."""
    both = scipy_signal.correlate(b, a, mode="full")
    return int(np.argmax(np.abs(both))) - (len(a) - 1)


def decibels(ratio: float) -> float:
    return 20 * float(np.log10(ratio))


def test_one_scale(root: Path) -> None:
    """mixture - distorted is the background, at the level that was drawn; the clean speech has the distorted one's."""
    for index in range(40):
        made = dataset(root).example(index)
        assert made.mixture.shape == made.distorted.shape == made.clean.shape == (RATE // 2,)
        assert made.mixture.dtype == np.float32 and np.abs(made.mixture).max() <= 1.0001
        weight = made.record["mix"]
        assert 0.2 <= weight <= 0.8
        measured = decibels(rms(made.distorted) / rms(made.mixture - made.distorted))
        assert measured == pytest.approx(decibels((1 - weight) / weight), abs=0.05)
        assert rms(made.clean) == pytest.approx(rms(made.distorted), rel=1e-3)
        json.dumps(made.record)


def test_without_distortion_and_background_all_are_equal(root: Path) -> None:
    made = dataset(root, background=0, distorted=0).example(3)
    assert np.array_equal(made.mixture, made.clean) and np.array_equal(made.distorted, made.clean)
    assert made.clean.any()


def test_four_of_five_are_distorted_in_training(root: Path) -> None:
    data = dataset(root, segment_sec=0.1, distortions={"probability": 0.9})
    share = np.mean([bool(data.example(index).record["distortions"]) for index in range(250)])
    assert abs(share - 0.8) < 0.08


def test_number_and_order_of_distortions(root: Path) -> None:
    rng = np.random.default_rng(0)
    speech = voice(0.1, RATE, 120).astype(np.float32)
    rooms = EnhancementFolder(root, RATE, SETTINGS).room
    found = [[step["kind"] for step in distort(rng, speech, RATE, DistortionSettings(), rooms)[1]] for _ in range(400)]
    counts = np.array([len(kinds) for kinds in found])
    assert counts.mean() == pytest.approx(3, abs=0.2) and counts.var() == pytest.approx(
        1.5, abs=0.4
    )  # Binomial(6, 1/2)
    assert {kind for kinds in found for kind in kinds} == {"room", *distortions.KINDS}
    assert all(len(set(kinds)) == len(kinds) for kinds in found)
    pairs = [kinds.index("noise") < kinds.index("band") for kinds in found if {"noise", "band"} <= set(kinds)]
    assert 0.3 < np.mean(pairs) < 0.7


def test_validation_is_the_same_each_epoch_and_degraded(root: Path) -> None:
    data = dataset(root, "valid")
    first = [data.example(index) for index in range(12)]
    set_epoch(data, 5)
    for before, after in zip(first, (data.example(index) for index in range(12)), strict=True):
        assert np.array_equal(before.mixture, after.mixture) and np.array_equal(before.clean, after.clean)
        assert before.record["distortions"]  # the foreground, not the background alone
        assert not np.allclose(before.distorted, before.clean)


def test_an_example_depends_on_seed_epoch_and_index_alone(root: Path) -> None:
    data = dataset(root, size=8)
    alone = list(DataLoader(data, 4, num_workers=0))
    workers = list(DataLoader(data, 4, num_workers=2))
    for a, b in zip(alone, workers, strict=True):
        assert all(bool((x == y).all()) for x, y in zip(a, b, strict=True))
    late = data[7][0]
    assert np.array_equal(late, alone[1][0][3].numpy())
    assert not np.array_equal(late, dataset(root, seed=2)[7][0])
    set_epoch(data, 1)
    assert not np.array_equal(late, data[7][0])
    repeated = EnhancementDataset(data.folder, "train", 8, 1, epoch=3, repeat=2)
    assert np.array_equal(repeated[5][0], repeated[1][0])


def test_splits_share_no_speaker_and_do_not_move(root: Path, tmp_path: Path) -> None:
    folder = EnhancementFolder(root, RATE, SETTINGS)
    splits = {split: {clip.path.parent.name for clip in folder.speech(split)} for split in ("train", "valid")}  # type: ignore[arg-type]
    assert splits["train"] and splits["valid"] and not splits["train"] & splits["valid"]
    assert not {c.path for c in folder.noises("train")} & {c.path for c in folder.noises("valid")}
    more = tmp_path / "more"
    shutil.copytree(root, more)
    shutil.copytree(more / "fg" / "speaker_0", more / "fg" / "a_new_speaker")
    again = EnhancementFolder(more, RATE, SETTINGS)
    for split, speakers in splits.items():
        assert speakers <= {clip.path.parent.name for clip in again.speech(split)}  # type: ignore[arg-type]
    paths = [clip.path for clip in folder.speech("train")]
    assert paths == sorted(paths)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_rooms_are_aligned_and_at_their_rate(rate: int) -> None:
    """The direct sound stays in place though an echo is louder; the echo comes after the same time at every rate."""
    response, direct = align(-room(), ROOM_RATE, rate)
    assert response[direct] == pytest.approx(1)
    click = np.zeros(rate // 4, np.float32)
    click[100] = 1
    out = through(click, response, direct)
    assert len(out) == len(click) and np.argmax(out[:200]) == 100
    echo = 100 + round(ECHO_SEC * rate)
    near = out[echo - 2 : echo + 3]
    assert near.max() == pytest.approx(1.5, rel=0.15) and abs(int(np.argmax(near)) - 2) <= 1
    assert np.abs(out[:60]).max() < 0.05  # nothing before it but the resampler's ringing


def test_a_room_delays_nothing(root: Path) -> None:
    folder = EnhancementFolder(root, RATE, SETTINGS)
    speech = np.random.default_rng(1).standard_normal(4000).astype(np.float32)
    for seed in range(8):
        response, direct, name = folder.room(np.random.default_rng(seed))
        out = through(speech, response, direct)
        assert name in ("rir/a.npy", "rir/b.npy")
        early = scipy_signal.correlate(out, speech, mode="full")[3999 - 20 : 3999 + 21]
        assert np.argmax(early) == 20


@pytest.mark.parametrize("kind", distortions.KINDS)
def test_each_distortion_keeps_time_and_stays_finite(kind: str) -> None:
    rng = np.random.default_rng(3)
    speech = scipy_signal.lfilter([1], [1, -0.9], rng.standard_normal(16_000)).astype(np.float32)
    settings = DistortionSettings(equaliser_db=(-12, 12))
    for _ in range(6):
        out, drawn = distortions.KINDS[kind](rng, speech, 16_000, settings)
        assert out.shape == speech.shape and out.dtype == np.float32 and np.isfinite(out).all() and drawn
        assert abs(lag(speech, out)) <= 2


@pytest.mark.parametrize("gain", [1e-9, 1e-3, 1e3])
def test_distortion_keeps_the_level(gain: float) -> None:
    speech = (gain * voice(0.3, RATE, 110)).astype(np.float32)
    for seed in range(8):
        out, steps = distort(np.random.default_rng(seed), speech, RATE, DistortionSettings(), least=1)
        assert rms(out) == pytest.approx(rms(speech), rel=1e-3) and np.isfinite(out).all()
        assert bool(steps) == (gain > 1e-6)
    silent, steps = distort(np.random.default_rng(0), np.zeros(500, np.float32), RATE, DistortionSettings(), least=3)
    assert not silent.any() and not steps


@pytest.mark.parametrize(("centre", "quality", "gain"), [(500.0, 1.0, 12.0), (2000.0, 5.0, -30.0), (100.0, 2.0, 30.0)])
def test_the_bell_has_its_gain(centre: float, quality: float, gain: float) -> None:
    _, found = scipy_signal.sosfreqz(peaking(44_100, centre, quality, gain), [centre, 1.0, 22_000.0], fs=44_100)
    at, low, high = 20 * np.log10(np.abs(found))
    assert at == pytest.approx(gain, abs=1e-6) and abs(low) < 0.2 and abs(high) < 0.5
    half_gain = 20 * np.log10(
        np.abs(
            scipy_signal.sosfreqz(peaking(44_100, centre, quality, gain), np.linspace(20, 5000, 20_000), fs=44_100)[1]
        )
    )
    inside = np.linspace(20, 5000, 20_000)[np.abs(half_gain) > abs(gain) / 2]
    assert (inside[-1] - inside[0]) == pytest.approx(centre / quality, rel=0.15)  # bandwidth at half the gain in dB


def test_noise_has_its_ratio_and_overdrive_its_harmonics() -> None:
    rng = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000).astype(np.float32)
    noisy, drawn = distortions.KINDS["noise"](rng, tone, 16_000, DistortionSettings())
    assert decibels(rms(tone) / rms(noisy - tone)) == pytest.approx(drawn["snr_db"], abs=0.2)
    levels = []
    for gain in (5.0, 40.0):
        settings = DistortionSettings(overdrive_db=(gain, gain), colour=(50, 50))
        driven, _ = distortions.KINDS["overdrive"](rng, tone, 16_000, settings)
        size = np.abs(np.fft.rfft(driven))
        assert size[1000] > 1e-3 * size[500]  # the tube is not symmetric: even harmonics
        levels.append(size[1500] / size[500])
    assert levels[1] > 1.5 * levels[0] and levels[1] == pytest.approx(1 / 3, rel=0.2)  # nearly a square wave


def test_band_limits_cut() -> None:
    rng = np.random.default_rng(5)
    white = rng.standard_normal(32_000).astype(np.float32)
    seen = set()
    for _ in range(8):
        out, drawn = distortions.KINDS["band"](rng, white, 44_100, DistortionSettings())
        frequency, power = scipy_signal.welch(out, 44_100, nperseg=2048)
        level = 10 * np.log10(power / scipy_signal.welch(white, 44_100, nperseg=2048)[1])
        low, high = drawn["low_hz"], drawn["high_hz"]
        seen.add(low is None)
        assert level[frequency > min(2 * high, 21_000)].mean() < -20 or high > 12_000
        assert abs(level[(frequency > 2 * (low or 100)) & (frequency < 0.6 * high)].mean()) < 1.5
    assert seen == {True, False}


def test_reverb_decays_as_told() -> None:
    """Backward integration (Schroeder 1965): the level falls by 60 dB in the decay time, faster at high frequencies when damped."""

    def decay_sec(response: np.ndarray) -> float:
        energy = np.cumsum(response[::-1] ** 2)[::-1]
        level = 10 * np.log10(energy / energy[0])
        begin, end = np.argmax(level < -5), np.argmax(level < -25)
        return 3 * (end - begin) / 16_000

    long, short = (reverb_response(np.random.default_rng(1), 16_000, value, 0, 0)[1:] for value in (100.0, 30.0))
    assert decay_sec(long) == pytest.approx(1.6, rel=0.15) and decay_sec(short) < 0.4
    damped = reverb_response(np.random.default_rng(1), 16_000, 100.0, 100.0, 0)[1:]
    high = scipy_signal.butter(8, 4000, "highpass", fs=16_000, output="sos")
    assert decay_sec(scipy_signal.sosfilt(high, damped)) < 0.4 * decay_sec(scipy_signal.sosfilt(high, long))
    for reverberance, level_db in ((0.0, -18.0), (50.0, -7.5), (100.0, 3.0)):  # the tail's energy to the direct sound's
        tail = reverb_response(np.random.default_rng(1), 16_000, reverberance, 0, 0)[1:]
        assert 10 * np.log10(np.sum(tail**2)) == pytest.approx(level_db, abs=0.01)
    late = reverb_response(np.random.default_rng(1), 16_000, 50, 50, 100)
    assert late[0] == 1 and not late[1:470].any() and late[481:600].any()  # 30 ms


def test_short_and_silent_recordings(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(root / "bg", folder / "bg")
    (folder / "fg").mkdir()
    for name, length in (("a", 200), ("b", 1), ("c", 3000)):
        sf.write(folder / "fg" / f"{name}.wav", 0.3 * np.ones(length), RATE)
    sf.write(folder / "fg" / "d.wav", np.zeros(9000), RATE)
    for split in ("train", "valid"):
        data = dataset(folder, split, pitch=1.0)
        for index in range(20):
            assert all(part.shape == (RATE // 2,) and np.isfinite(part).all() for part in data[index])


def test_memory_does_not_grow_with_a_recording(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for kind in ("fg", "bg"):
            (tmp_path / kind).mkdir(exist_ok=True)
            sf.write(tmp_path / kind / f"{name}.wav", np.ones(120 * RATE) * 0.1, RATE)  # 3.8 MB each as float32
    data = dataset(tmp_path, distorted=0.0)
    data.example(0)
    tracemalloc.start()
    for index in range(10):
        data.example(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000


def test_bad_files_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="fg: no speech"):
        EnhancementFolder(tmp_path, RATE, SETTINGS)
    bad = tmp_path / "bad"
    shutil.copytree(root, bad)
    (bad / "fg" / "speaker_0" / "broken.wav").write_bytes(b"RIFF")
    np.save(bad / "rir" / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(bad / "rir" / "cube.npy", np.zeros((2, 3, 4)))
    (bad / "rir" / "text.npy").write_text("no array")
    with pytest.raises(AudioRestorerError) as raised:
        EnhancementFolder(bad, RATE, SETTINGS)
    for name in ("broken.wav", "pickle.npy", "cube.npy", "text.npy"):
        assert name in str(raised.value)


def test_bad_samples_are_named_when_they_are_met(root: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(root, bad)
    for path in (bad / "rir").glob("*"):
        path.unlink()
    np.save(bad / "rir" / "mute.npy", np.zeros(100))
    with pytest.raises(AudioRestorerError, match=r"mute\.npy"):
        EnhancementFolder(bad, RATE, SETTINGS).room(np.random.default_rng(0))
    for path in (bad / "fg").rglob("*.wav"):
        sf.write(path, np.full(4000, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(AudioRestorerError, match="NaN"):
        dataset(bad)[0]


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "fg" / "speaker_0", tmp_path / "fg" / "speaker_0")
    with pytest.raises(AudioRestorerError, match="bg: no backgrounds"):
        EnhancementFolder(tmp_path, RATE, SETTINGS)
    with pytest.raises(AudioRestorerError, match="one speaker"):
        EnhancementFolder(tmp_path, RATE, SETTINGS.model_copy(update={"background": 0.0}))
    with pytest.raises(ValueError, match="lowest"):
        DistortionSettings(colour=(80, 20))
