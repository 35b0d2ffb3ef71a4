"""Signals in memory have the figures of the files that would hold them: to the last bit, on the pilot's clips."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.metrics import groups
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Files, Signals, Sound
from audiorestorer.metrics.groups import Figures
from audiorestorer.metrics.meter import WER, Meter

PILOT = Path(__file__).parents[2] / "data/pilot"
CLIPS = ("audiobook/chapter_03", "help_line/closing", "café menu/wärm up take 1")
PAIRS = ("signal", "music", "intelligibility", "loudness", "pesq")  # the groups that compare files
NAMES = tuple(name for group in PAIRS for name in groups.named(group).all_names)


@cache
def signals(clip: str) -> tuple[Audio, Audio, Audio, int]:
    """Mixture, something like an output, and reference, `[1, T]`."""
    found = [next((PILOT / kind / clip).parent.glob(f"{Path(clip).name}.*")) for kind in ("input", "clean")]
    (noisy, rate), (clean, _) = map(audio.read, found)
    noisy, clean = (signal.mean(axis=0, keepdims=True, dtype=np.float32) for signal in (noisy, clean))
    return noisy, (0.2 * noisy + 0.5 * clean).astype(np.float32), clean, rate


def same(first: Mapping[str, float], second: Mapping[str, float]) -> None:
    assert dict(first) == dict(second)


@pytest.mark.parametrize("clip", CLIPS)
def test_figures_of_signals_are_those_of_their_files(clip: str, tmp_path: Path) -> None:
    noisy, output, clean, rate = signals(clip)
    stereo = [np.concatenate([signal, 0.5 * signal[:, ::-1]]) for signal in (noisy, output, clean)]
    for number, triple in enumerate(([noisy, output, clean], stereo)):
        paths = [str(tmp_path / f"{number}{name}.wav") for name in ("noisy", "output", "clean")]
        for path, signal in zip(paths, triple, strict=True):
            audio.write(path, signal, rate)
        for name in PAIRS:
            if groups.named(name).unavailable(Context()):
                continue
            of_files = groups.named(name).measure(Files(*paths))
            of_signals = groups.named(name).measure(Signals(*triple, rate))
            same(of_signals.values, of_files.values)
            assert of_signals.missing == of_files.missing


def test_what_models_are_given_of_a_signal_is_what_they_are_given_of_its_file(tmp_path: Path) -> None:
    _, output, clean, rate = signals(CLIPS[0])
    output, clean = output[:, : 2 * rate], clean[:, : 2 * rate]
    audio.write(tmp_path / "x.wav", output, rate)
    of_signal, of_file = Sound.of_signal(output, rate), Sound.of_file(str(tmp_path / "x.wav"))
    for wanted in (16_000, 32_000, rate):
        first, second = (np.concatenate(list(sound.at(wanted)), axis=1) for sound in (of_signal, of_file))
        assert np.array_equal(first, second)
    meter, group = Meter(("dnsmos_ovrl",)), groups.named("dnsmos")
    if not meter.absent:
        figures = group.measured(group.load(Context()), of_file, Figures(group.bases()))
        assert meter(output, clean, rate).values == {"dnsmos_ovrl": figures.values["dnsmos_ovrl"]}


def test_a_meter_gives_what_is_asked_for_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, output, clean, rate = signals(CLIPS[1])
    whole = Meter(NAMES)(output, clean, rate, noisy)
    assert {*whole.values, *whole.missing} == set(NAMES)
    part = Meter(("composite", "stoi", "lufs"))
    assert part(output, clean, rate, noisy).values.keys() == {"composite", "stoi", "lufs"}
    same(part(output, clean, rate, noisy, ["stoi"]).values, {"stoi": whole.values["stoi"]})
    for name in ("stoj", "dnsmos_ovrl_in", "wer_open"):
        with pytest.raises(ValueError, match=f"no group measures {name} of a signal"):
            Meter(("stoi", name))
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    meter = Meter(("stoi", "pesq", "dnsmos_ovrl", WER), not_asked={"dnsmos_ovrl": "not asked for"})
    assert set(meter.absent) == {"pesq", "dnsmos_ovrl", WER} and meter.absent["dnsmos_ovrl"] == "not asked for"
    assert meter.recogniser is None and "not installed" in meter(output, clean, rate).missing["pesq"]
