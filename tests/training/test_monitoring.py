"""Unhealthy patterns on made-up curves: each is found, alone, and not on a healthy curve."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audiorestorer.files import read_csv
from audiorestorer.training.monitoring import Curve, Monitoring, unhealthy
from audiorestorer.training.settings import load_settings
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


class MadeUp(Monitoring):
    """Rows of given curves instead of measurements."""

    curve: Curve

    def _measured(self, module: Any) -> dict[str, float]:
        synthetic, real = self.curve[module]
        return {"synthetic_supervised_loss": synthetic, **({"real_consistency_loss": real} if real is not None else {})}


def test_a_warning_when_a_pattern_begins_and_rows_of_a_resumed_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real = [1.0, 0.5, 0.4, 0.35, 0.3, 0.3, 0.3, 0.3, 0.32, 0.34, 0.36, 0.4]
    callback = MadeUp(tmp_path / "monitoring.csv", None, None, None, load_settings({"monitoring": {"patience": 4}}))  # type: ignore[arg-type]
    callback.curve = list(zip(FALLING, real, strict=True))
    for epoch in (*range(10), 8, 9, 10, 11):  # killed in the tenth, gone on from the eighth
        trainer: Any = SimpleNamespace(
            is_global_zero=True, current_epoch=epoch, global_step=10 * epoch + 10, loggers=[]
        )
        with caplog.at_level(logging.WARNING):
            callback.on_train_epoch_end(trainer, epoch)  # type: ignore[arg-type]
    rows = read_csv(tmp_path / "monitoring.csv")
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 13)]
    assert [bool(row["warnings"]) for row in rows] == [False] * 9 + [True] * 3 and rows[-1][
        "warnings"
    ] == "consistency rising"
    assert [message.split(":")[0] for message in caplog.messages] == ["epoch 10", "epoch 10"]  # twice lived, twice said
    assert all(row["impulse_removal_rate"] == "" and row["synthetic_sample_ratio"] == "1.000000" for row in rows)
