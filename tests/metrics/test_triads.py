"""Triads: the composite by hand, the figures at their limits, medians and quartiles."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.metrics import signal, triads

RATE = 8000
RNG = np.random.default_rng(0)
CLEAN = (0.1 * RNG.standard_normal(2 * RATE)).astype(np.float32)
NOISE = (0.1 * RNG.standard_normal(2 * RATE)).astype(np.float32)
NOISE -= (NOISE @ CLEAN) / (CLEAN @ CLEAN) * CLEAN  # orthogonal: the SNR is the SI-SDR
NOISE *= np.sqrt((CLEAN @ CLEAN) / (NOISE @ NOISE))


# Design, "Formulas": 100 (0.45 s_si + 0.35 s_lsd + 0.20 (1 - min(1, r))), s_si = s(dSI; 0.5, 1), s_lsd = s(dLSD; 0.8, 1)
@pytest.mark.parametrize(
    ("si", "lsd", "r", "s_si", "s_lsd", "want"),
    [
        (0, 0, 1, 0.377541, 0.310026, 27.8402),  # nothing done
        (0, 0, 0, 0.377541, 0.310026, 47.8402),
        (2, 1.5, 0.4, 0.622459, 0.598688, 60.9647),
        (3, 2, 0.25, 0.731059, 0.689974, 72.0467),
        (6, 3, 0.1, 0.924142, 0.832018, 88.7070),
        (10, 5, 0.05, 0.989013, 0.960834, 97.1348),
        (-2, -1, 1.3, 0.182426, 0.167982, 14.0885),  # worse than the input: r counts as 1
        (-6, 0.5, 0.9, 0.029312, 0.401312, 17.3650),
        (12, -1, 0.06, 0.995930, 0.167982, 69.4962),
        (0.5, 4, 1, 0.437823, 0.916827, 51.7910),
    ],
)
def test_composite_table(si: float, lsd: float, r: float, s_si: float, s_lsd: float, want: float) -> None:
    assert 45 * s_si + 35 * s_lsd + 20 * (1 - min(1, r)) == pytest.approx(
        want, abs=2e-4
    )  # the table agrees with itself
    assert signal.composite(si, lsd, r) == pytest.approx(want, abs=1e-4)


def measured(
    folder: Path, yhat: audio.Audio, noisy: audio.Audio = CLEAN + NOISE, clean: audio.Audio = CLEAN
) -> tuple[dict[str, float], str]:
    for part, samples in zip(triads.PARTS, (noisy, yhat, clean), strict=True):
        sf.write(folder / f"x_{part}.wav", samples, RATE, subtype="FLOAT")
    noisy_path, yhat_path, clean_path = (folder / f"x_{part}.wav" for part in triads.PARTS)
    return triads.measure(noisy_path, yhat_path, clean_path)


def test_an_untouched_input_changes_nothing(tmp_path: Path) -> None:
    values, reason = measured(tmp_path, CLEAN + NOISE)
    assert not reason and values["si_noisy_db"] == pytest.approx(0, abs=0.01)
    assert values["delta_si_db"] == values["delta_lsd_db"] == 0 and values["residual_percent"] == pytest.approx(100)
    assert values["composite"] == pytest.approx(27.8402, abs=1e-3)


def test_the_reference_itself_is_perfect(tmp_path: Path) -> None:
    values, reason = measured(tmp_path, CLEAN)
    assert not reason and values["si_yhat_db"] == signal.MAX_DB and values["lsd_yhat_db"] == 0
    assert values["residual_percent"] == pytest.approx(0, abs=1e-4) and values["composite"] > 95


def test_noise_lowered_by_20_db(tmp_path: Path) -> None:
    """Noise 20 dB lower: 20 dB more SI-SDR, a hundredth of the residual's energy; at any level of the output."""
    for gain in (1.0, 0.05):
        values, _ = measured(tmp_path, gain * (CLEAN + 0.1 * NOISE))
        assert values["delta_si_db"] == pytest.approx(20, abs=0.02)
        assert values["residual_percent"] == pytest.approx(1, abs=0.01)


def test_a_mute_output_has_no_si_sdr_and_no_composite(tmp_path: Path) -> None:
    values, reason = measured(tmp_path, 0 * CLEAN)
    assert not {"si_yhat_db", "delta_si_db", "composite"} & set(values) and "the output is silent" in reason
    # |0 - s|^2 / |n|^2 = 1: all of the speech is missing
    assert values["residual_percent"] == pytest.approx(100, abs=0.1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy names the infinities too
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["yhat", "noisy"])
def test_a_broken_signal_has_no_figures_rather_than_good_ones(tmp_path: Path, bad: float, part: str) -> None:
    broken = (CLEAN + NOISE).copy()
    broken[500] = bad
    values, reason = measured(tmp_path, **{"yhat": CLEAN, part: broken})
    assert not {"delta_si_db", "delta_lsd_db", "residual_percent", "composite"} & set(values)
    assert "NaN or infinity" in reason


def test_a_silent_reference_is_a_reason(tmp_path: Path) -> None:
    assert measured(tmp_path, CLEAN, clean=0 * CLEAN) == ({}, "the reference is silent")


def test_figures_do_not_depend_on_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = measured(tmp_path, CLEAN + 0.3 * NOISE)
    monkeypatch.setattr(audio, "BLOCK_SEC", 0.13)
    assert measured(tmp_path, CLEAN + 0.3 * NOISE)[0] == pytest.approx(whole, abs=1e-6)


def test_medians_and_quartiles_lie_within_the_values() -> None:
    rows = [{"epoch": 2, "status": "ok", "composite": value} for value in (90, 100)]
    rows += [{"epoch": 10, "status": "ok", "composite": value} for value in (1, 2, 3, 4, 50)]
    rows += [{"epoch": 10, "status": "rejected"}, {"epoch": 10, "status": "ok"}]
    two, five = triads.medians(rows)
    assert [two["composite_q25"], two["composite"], two["composite_q75"]] == [92.5, 95, 97.5]
    assert [five["composite_q25"], five["composite"], five["composite_q75"]] == [2, 3, 4]
    assert (two["epoch"], five["epoch"], five["n"]) == ("2", "10", 6) and "delta_si_db" not in five
