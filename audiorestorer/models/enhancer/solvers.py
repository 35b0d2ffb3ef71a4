"""Fixed-grid solvers of dx/dt = f(t, x): Euler, explicit midpoint, and the classical Runge-Kutta method of order 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from audiorestorer.errors import AudioRestorerError

Solver = Literal["euler", "midpoint", "rk4"]
SOLVERS: tuple[str, ...] = get_args(Solver)
EVALUATIONS = {"euler": 1, "midpoint": 2, "rk4": 4}  # of the field per step
WARP = 0.0873780  # a of h(t) = (a^t - 1) / (a - 1), from h(1/4) = 1/2

Field = Callable[[Tensor, Tensor], Tensor]


def warp(time: Tensor, base: float = WARP) -> Tensor:
    """Time in [0, 1] to time in [0, 1]: half of the way in the first quarter (`WARP`), the rest in ever smaller steps."""
    return (base**time - 1) / (base - 1)


def steps_of(nfe: int, solver: str) -> int:
    """Number of steps that `nfe` evaluations of the field allow.

    Raises:
        AudioRestorerError: no such solver, or too few evaluations for one step.
    """
    if solver not in EVALUATIONS:
        raise AudioRestorerError(f"solver {solver!r}: not one of {', '.join(SOLVERS)}")
    if nfe < EVALUATIONS[solver]:
        raise AudioRestorerError(f"nfe {nfe}: {solver} needs at least {EVALUATIONS[solver]}")
    return nfe // EVALUATIONS[solver]


def grid(nfe: int, solver: str, base: float = WARP) -> Tensor:
    """Times `[steps + 1]` from 0 to 1 (float64), even before `warp`."""
    times = warp(torch.linspace(0, 1, steps_of(nfe, solver) + 1, dtype=torch.float64), base)
    times[0], times[-1] = 0.0, 1.0
    return times


def solve(field: Field, start: Tensor, times: Tensor, solver: str = "midpoint") -> Tensor:
    """x at the last of `times` where it is `start` at the first.

    Args:
        field: (time `[]`, x) to dx/dt in the shape of x.
        times: `[steps + 1]`, rising.
    """
    if solver not in EVALUATIONS:
        raise AudioRestorerError(f"solver {solver!r}: not one of {', '.join(SOLVERS)}")
    x = start
    times = times.to(start.device)
    for begin, end in zip(times[:-1], times[1:], strict=True):
        step = float(end - begin)
        now, half, then = (value.to(start.dtype) for value in (begin, (begin + end) / 2, end))
        first = field(now, x)
        if solver == "euler":
            x = x + step * first
            continue
        second = field(half, x + step / 2 * first)
        if solver == "midpoint":
            x = x + step * second
            continue
        third = field(half, x + step / 2 * second)
        fourth = field(then, x + step * third)
        x = x + step / 6 * (first + 2 * second + 2 * third + fourth)
    return x
