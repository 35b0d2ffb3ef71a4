"""The share of synthetic examples: its ends, its shape, and nothing to remember."""

import pytest

from audiorestorer.training.curriculum import CurriculumScheduler


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_from_start_to_end(shape: str) -> None:
    ratio = CurriculumScheduler(1.0, 0.3, 101, shape)  # type: ignore[arg-type]
    values = [ratio(step) for step in range(101)]
    assert values[0] == 1.0 and values[-1] == pytest.approx(0.3) and values[50] == pytest.approx(0.65)
    assert all(a >= b for a, b in zip(values, values[1:], strict=False))
    assert ratio(500) == values[-1] and ratio(-1) == 1.0
    assert values == [CurriculumScheduler(1.0, 0.3, 101, shape)(step) for step in range(101)]  # type: ignore[arg-type]


def test_shapes_differ_and_one_step_is_a_training() -> None:
    linear, cosine = CurriculumScheduler(1, 0, 101), CurriculumScheduler(1, 0, 101, "cosine")
    assert linear(10) == pytest.approx(0.9) and cosine(10) > 0.97 and cosine(90) < 0.03
    assert CurriculumScheduler(0.7, 0.7, 1)(0) == 0.7
