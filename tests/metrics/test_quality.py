"""Music to speech on mixtures whose ratio is known; PESQ and DNSMOS where their packages are installed; statistics."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from audiorestorer.metrics import Missing, dnsmos, statistics
from audiorestorer.metrics.files import Files, Sound
from audiorestorer.metrics.groups import dnsmos as group_dnsmos
from audiorestorer.metrics.groups.music import GROUP as MUSIC
from audiorestorer.metrics.groups.pesq import GROUP as PESQ
from audiorestorer.metrics.groups.signal import GROUP as SIGNAL

PILOT = Path(__file__).parents[2] / "data/pilot"
CLIPS = ("audiobook/chapter_03", "help_line/closing", "café menu/wärm up take 1")
RATIOS_DB = tuple(range(10, -31, -5))  # music to speech: SNR of -10 to 30 dB


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Files]]:
    """For each clip the pilot's speech with its music (input minus clean) at every ratio."""
    folder, out = tmp_path_factory.mktemp("mixtures"), {}
    for clip in CLIPS:
        noisy, clean = (next((PILOT / kind / clip).parent.glob(f"{Path(clip).name}.*")) for kind in ("input", "clean"))
        (y, rate), (s, _) = sf.read(noisy), sf.read(clean)
        music = y - (y @ s) / (s @ s) * s
        music *= np.sqrt((s @ s) / (music @ music))
        files = []
        for ratio in RATIOS_DB:
            place = folder / f"{Path(clip).name}{ratio}"
            place.mkdir()
            sf.write(place / "n.wav", 0.2 * (s + 10 ** (ratio / 20) * music), rate, "FLOAT")
            sf.write(place / "s.wav", s, rate, "FLOAT")
            files.append(Files(str(place / "n.wav"), str(place / "n.wav"), str(place / "s.wav")))
        out[clip] = files
    return out


@pytest.mark.parametrize("clip", CLIPS)
def test_music_to_speech_with_a_reference_is_the_true_ratio(mixtures, clip):
    found = [SIGNAL.measure(files).values["music_to_speech_db"] for files in mixtures[clip]]
    assert np.allclose(found, RATIOS_DB, atol=1.5)
    assert all(later < earlier for earlier, later in zip(found, found[1:], strict=False))
    assert np.allclose(np.diff(found), -5, atol=0.05)


@pytest.mark.parametrize("clip", CLIPS)
def test_blind_music_to_speech_falls_with_the_true_ratio(mixtures, clip):
    found = [MUSIC.measure(files).values["music_to_speech_blind_db"] for files in mixtures[clip]]
    assert all(later < earlier + 0.5 for earlier, later in zip(found, found[1:], strict=False))
    assert found[0] - found[-1] > 20 and all(a - b > 3 for a, b in zip(found[4:], found[5:], strict=False))


def test_pesq_of_a_copy_is_the_scale_s_top_and_falls_with_music(mixtures):
    pytest.importorskip("pesq", reason="an optional package that needs a C compiler (requirements-extras.lock)")
    files = mixtures[CLIPS[0]]
    copy = PESQ.measure(Files(files[0].clean, files[0].clean, files[0].clean)).values
    assert copy["pesq"] == pytest.approx(4.64, abs=0.01)  # P.862.2: the mapping's upper end
    found = [PESQ.measure(one).values["pesq"] for one in (files[8], files[6], files[4], files[0])]
    assert found == sorted(found, reverse=True) and found[0] > 2.5 and 1 < found[-1] < 1.3


def test_pesq_says_why_it_is_missing(tmp_path):
    pytest.importorskip("pesq")
    sf.write(tmp_path / "z.wav", np.zeros(16000), 16000)
    path = str(tmp_path / "z.wav")
    figures = PESQ.measure(Files(path, path, path))
    assert not figures.values and figures.missing == {"pesq_in": "silent", "pesq": "silent"}
    assert "reference" in PESQ.measure(Files(path, path, None)).missing["pesq"]


def test_dnsmos_prefers_clean_speech(mixtures):
    dnsmos = group_dnsmos.scorer(1)
    files = mixtures[CLIPS[0]]
    clean, noisy = (dnsmos(Sound.of_file(path).excerpt(16_000, 10, 60)) for path in (files[0].clean, files[2].noisy))
    assert all(1 <= value <= 5 for value in (*clean.values(), *noisy.values()))
    assert clean["dnsmos_ovrl"] > noisy["dnsmos_ovrl"] + 0.5 and clean["dnsmos_bak"] > noisy["dnsmos_bak"] + 1
    with pytest.raises(Missing, match="silent"):
        dnsmos(np.zeros(16_000, np.float32))


def test_bootstrap_interval_has_the_normal_theory_s_width_and_is_repeatable():
    """The median of n normal values has standard error sqrt(pi / (2 n)): 95 % within 1.96 of them."""
    values = np.random.default_rng(0).standard_normal(2000)
    low, high = statistics.interval(values)
    assert low < np.median(values) < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(np.pi / 4000), rel=0.2)
    assert statistics.interval(values) == [low, high]
    assert statistics.interval(values[:4]) is None


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        low, high = statistics.interval(rng.exponential(size=40))
        hits += low <= np.log(2) <= high
    assert 87 <= hits <= 100


def test_paired_differences():
    before = np.arange(20.0)
    found = statistics.paired(before, before + np.r_[[-1.0, 0.0], np.full(18, 2.0)])
    assert found["median"] == 2 and (found["rose"], found["fell"], found["same"]) == (18, 1, 1)
    assert found["wilcoxon_p"] < 0.001 and found["ci95"] == [2.0, 2.0]
    assert "wilcoxon_p" not in statistics.paired(before, before)
    assert statistics.paired([], []) == {"n": 0}


def test_conditions_are_split_where_there_is_something_to_split():
    rows = [
        {"conditions": {"voice": f"v{i % 2}", "id": str(i), "same": "x", "snr_db": float(i % 3)}} for i in range(50)
    ]
    assert statistics.conditions_of(rows) == {"snr_db": [0.0, 1.0, 2.0], "voice": ["v0", "v1"]}


def test_wer_is_called_uninformative_where_clean_speech_is_not_understood():
    groups = {
        "voice": [
            {"value": "robot", "metrics": {"wer_clean": {"median": 0.8}}},
            {"value": "good", "metrics": {"wer_clean": {"median": 0}}},
        ]
    }
    found = statistics.uninformative({"wer_clean": {"median": 0.1}, "wer_open_clean": {"median": 0.9}}, groups)
    assert [(note["metric"], note.get("value")) for note in found] == [("wer", "robot"), ("wer_open", None)]


@pytest.mark.parametrize("seconds", [2.0, 9.01, 10.0, 12.0])
def test_dnsmos_scores_are_those_of_the_package_that_carries_the_networks(seconds: float) -> None:
    """speechmos' own code, which needs librosa. (From 19 s on it drops windows by a rounding error of their ends.)"""
    theirs = pytest.importorskip("speechmos.dnsmos", reason="speechmos' own code needs librosa")
    audio, rate = sf.read(next((PILOT / "clean").rglob("chapter_03.flac")))
    mono = np.resize(soxr.resample(audio, rate, 16_000), int(seconds * 16_000)).astype(np.float32)
    own, wanted = dnsmos.scorer(1)(mono), theirs.run(mono, 16_000)
    assert own == {name: pytest.approx(float(wanted[name]), abs=1e-4) for name in own}


def test_dnsmos_filters_have_equal_area() -> None:
    """Slaney's normalisation: each triangle's area over frequency is 2 / 2 = 1 Hz per Hz, but for the sampling of its bins."""
    filters, bin_hz = dnsmos.filters(), 16_000 / dnsmos.N_FFT
    assert filters.shape == (dnsmos.BANDS, dnsmos.N_FFT // 2 + 1) and filters.min() == 0
    assert filters[80:].sum(axis=1) * bin_hz == pytest.approx(1.0, abs=0.15)
