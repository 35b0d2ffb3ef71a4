"""Unhealthy patterns on made-up curves: each is found, alone, and not on a healthy curve."""

from audiorestorer.training.monitoring import Curve, unhealthy
from audiorestorer.training.strategy_settings import MonitoringSettings

SETTINGS = MonitoringSettings(patience=4)
FALLING = [4.0 * 0.9**epoch for epoch in range(12)]


def found(synthetic: list[float], real: list[float | None]) -> set[str]:
    curve: Curve = list(zip(synthetic, real, strict=True))
    return set(unhealthy(curve, SETTINGS))


def test_a_healthy_curve_is_left_alone() -> None:
    assert found(FALLING, [1.0 * 0.9**epoch for epoch in range(12)]) == set()
    assert found(FALLING, [1.0 if epoch < 3 else 0.4 for epoch in range(12)]) == set()  # late, and then it stays


def test_consistency_rising() -> None:
    real: list[float | None] = [1.0, 0.5, 0.4, 0.35, 0.3, 0.3, 0.3, 0.3, 0.32, 0.34, 0.36, 0.4]
    assert found(FALLING, real) == {"consistency rising"}
    assert found([4.0 * 1.1**epoch for epoch in range(12)], real) == {"plateau"}  # all rises: not the real loss alone


def test_gap_persisting() -> None:
    assert found(FALLING, [1.0 - 0.001 * epoch for epoch in range(12)]) == {"gap persisting"}
    closing: list[float | None] = [1.0] * 6 + [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert found(FALLING, closing) == set()


def test_plateau() -> None:
    synthetic = [4.0, 3.0, 2.5, 2.2, 2.0, 2.0, 2.01, 1.995, 2.0]
    assert found(synthetic, [value / 4 for value in synthetic]) == {"plateau"}
    assert found([*synthetic[:-1], 1.9], [value / 4 for value in synthetic]) == set()


def test_short_curves_and_no_real_recordings() -> None:
    assert found([2.0] * 4, [1.0] * 4) == set()
    assert found([2.0] * 6, [None] * 6) == {"plateau"}
