"""Recordings of more than two channels: the centre's dialogue is restored, all else stays where and as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.config import Config, LoudnessSettings
from audiorestorer.dsp import loudness
from audiorestorer.formats import layouts
from audiorestorer.manifest import read_manifest, write_manifest
from audiorestorer.separators import Loaded, Separator
from audiorestorer.separators.runtime.streaming import Recording, estimates
from audiorestorer.stages import ingest
from audiorestorer.stages import loudness as stage
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests.coded import noise, write_coded

RATE = 48_000


def surround(frames: int = RATE) -> audio.Audio:
    """Six unlike channels."""
    return np.concatenate([noise(RATE, frames, seed=number) * (0.2 + 0.1 * number) for number in range(6)])


def recording(folder: Path, name: str) -> audio.Audio:
    folder.mkdir(exist_ok=True)
    signal = surround()
    if name.endswith(".m4a"):
        write_coded(folder / name, [(signal, RATE)], "aac", "ipod")
    else:
        audio.write(folder / name, signal, RATE, format=audio.WRITTEN[Path(name).suffix], subtype="PCM_24")
    return signal


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".m4a", ".caf", ".w64"])
@pytest.mark.parametrize(("mode", "chosen"), [("dialogue", [2]), ("all", [0, 1, 2, 4, 5])])
def test_the_chosen_channels_are_restored_and_the_others_only_get_the_gain(
    tmp_path: Path, suffix: str, mode: str, chosen: list[int]
) -> None:
    recording(tmp_path / "in", f"film{suffix}")
    config = Config(input=str(tmp_path / "in"), shards=1, ingest={"channels": mode})
    (row,) = ingest.run(tmp_path / "i.jsonl", config, 0, tmp_path / "store")
    assert row.ok and row.channels == 6 and row.restored_channels == chosen and row.whole
    given, _ = audio.read(row.whole)
    heard, _ = audio.read(row.noisy)
    np.testing.assert_array_equal(heard, given[chosen])
    # the networks would stand here: half of it is taken away
    audio.write(tmp_path / "restored.wav", 0.5 * heard, RATE)
    write_manifest(
        tmp_path / "r.jsonl",
        [row.updated(path=str(tmp_path / "restored.wav"), sha256=sha256_file(tmp_path / "restored.wav"))],
    )
    stage.run(tmp_path / "r.jsonl", tmp_path / "l.jsonl", LoudnessSettings(true_peak_dbtp=0), Job(tmp_path / "store"))
    (done,) = read_manifest(tmp_path / "l.jsonl")
    measured, _ = audio.read(done.measured or "")
    made, rate = audio.read(done.path or "")
    wanted = given.copy()
    wanted[chosen] *= 0.5
    gain = 10 ** ((done.gain_db or 0) / 20)
    error = np.square(made - gain * wanted).mean(axis=1) / np.square(gain * wanted).mean(axis=1)
    assert rate == RATE and made.shape == given.shape and (error < (3e-2 if suffix == ".m4a" else 1e-6)).all(), error
    np.testing.assert_allclose(measured, made[chosen], atol=1e-6)
    assert done.output_lufs == pytest.approx(-23, abs=0.1)
    assert suffix == ".m4a" or sf.info(done.path).subtype == "PCM_24"


def test_channels_that_an_enhancer_gave_another_rate_get_the_others_at_it(tmp_path: Path) -> None:
    """A tone at 16 kHz in every channel, the centre enhanced to 44.1 kHz: all six are at 44.1 kHz, and none moves by a sample."""
    (tmp_path / "in").mkdir()
    given, made = 16_000, 44_100
    tones = [
        np.stack([0.05 * (1 + place) * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate) for place in range(6)])
        for rate in (given, made)
    ]
    audio.write(tmp_path / "in/film.wav", tones[0].astype(np.float32), given, subtype="FLOAT")
    config = Config(input=str(tmp_path / "in"), shards=1)
    (row,) = ingest.run(tmp_path / "i.jsonl", config, 0, tmp_path / "store")
    audio.write(tmp_path / "enhanced.wav", tones[1][2:3].astype(np.float32), made, subtype="FLOAT")
    changes = {"path": str(tmp_path / "enhanced.wav"), "sha256": sha256_file(tmp_path / "enhanced.wav")}
    write_manifest(tmp_path / "r.jsonl", [row.updated(**changes)])
    stage.run(tmp_path / "r.jsonl", tmp_path / "l.jsonl", LoudnessSettings(true_peak_dbtp=0), Job(tmp_path / "store"))
    (out,) = read_manifest(tmp_path / "l.jsonl")
    assert out.ok, out.reason
    written, rate = audio.read(out.path)
    assert rate == made and written.shape == tones[1].shape
    middle = slice(2000, -2000)
    gain = written[2, middle].std() / tones[1][2, middle].std()
    np.testing.assert_allclose(written[:, middle], gain * tones[1][:, middle], atol=2e-4)


def test_wav_says_where_its_channels_stand(tmp_path: Path) -> None:
    audio.write(tmp_path / "x.wav", surround(), RATE, subtype="PCM_16")
    head = (tmp_path / "x.wav").read_bytes()[:60]
    assert head[20:22] == b"\xfe\xff" and int.from_bytes(head[40:44], "little") == 0x3F  # FL FR FC LFE BL BR
    assert sf.info(tmp_path / "x.wav").channels == 6


def test_an_m4a_is_5_1(tmp_path: Path) -> None:
    import av

    audio.write_blocks(tmp_path / "x.m4a", [surround()], RATE, 6, format="AAC", subtype="keep", bit_rate=384_000)
    with av.open(str(tmp_path / "x.m4a")) as container:
        assert container.streams.audio[0].layout.name == "5.1"


@pytest.mark.parametrize("channel", range(6))
def test_surround_loudness_follows_bs_1770(channel: int) -> None:
    """A sine of 997 Hz at 0 dBFS reads -3.01 LUFS in a front channel, 1.5 dB more in a surround, and does not count in the LFE."""
    signal = np.zeros((6, 4 * RATE), np.float32)
    signal[channel] = np.sin(2 * np.pi * 997 * np.arange(4 * RATE) / RATE)
    level = loudness.measure([signal], RATE, 6)
    wanted = {3: None, 4: -3.01 + 1.5, 5: -3.01 + 1.5}.get(channel, -3.01)
    assert level.lufs == (None if wanted is None else pytest.approx(wanted, abs=0.02))


def test_pairs_of_all_layouts() -> None:
    for channels in range(1, layouts.MOST + 1):
        groups = layouts.pairs(channels)
        assert [number for group in groups for number in group] == list(range(channels))
        assert all(len(group) <= 2 for group in groups)
    assert layouts.pairs(6) == [[0, 1], [2], [3, 4], [5]] and layouts.restored(2, "dialogue") == [0, 1]
    assert layouts.restored(8, "dialogue") == [2] and layouts.restored(8, "all") == [0, 1, 2, 4, 5, 6, 7]


class Swapping(Separator):
    """A stereo network that gives left the right channel and right the left one."""

    sample_rate, channels, segment_sec = RATE, 2, 0.5

    def __call__(self, given: np.ndarray) -> dict[str, np.ndarray]:
        return {"vocals": given[:, ::-1]}


@pytest.mark.parametrize(("channels", "order"), [(6, [1, 0, 2, 4, 3, 5]), (4, [1, 0, 3, 2]), (5, [1, 0, 2, 4, 3])])
def test_a_stereo_network_takes_left_and_right_together(channels: int, order: list[int]) -> None:
    signal = surround()[:channels]
    whole = Recording(lambda: iter([signal]), RATE, channels, signal.shape[1])
    out = np.concatenate([block["vocals"] for block in estimates(Loaded(Swapping()), whole)], axis=1)
    np.testing.assert_allclose(out, signal[order], atol=1e-6)
