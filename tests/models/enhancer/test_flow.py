"""Solvers reach their order and agree with torchdiffeq; the flow's path, its warp and its seeds are what they should be."""

import math

import pytest
import torch
from torch import Tensor

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.enhancer import solvers
from audiorestorer.models.enhancer.cfm import Flow, time_embedding
from audiorestorer.models.enhancer.settings import FlowSettings
from audiorestorer.models.enhancer.solvers import EVALUATIONS, SOLVERS, solve

ORDER = {"euler": 1, "midpoint": 2, "rk4": 4}
SMALL = FlowSettings(hidden=16, layers=4, cycle=2, frequencies=8)


def pendulum(time: Tensor, x: Tensor) -> Tensor:
    """A driven non-linear pendulum: time enters, and no solver is exact."""
    return torch.stack([x[1], -x[0].sin() + torch.cos(3 * time)])


def logistic(time: Tensor, x: Tensor) -> Tensor:
    return x * (1 - x) * (1 + time)


@pytest.mark.parametrize("solver", SOLVERS)
def test_order_of_convergence(solver: str) -> None:
    start = torch.tensor([0.2], dtype=torch.float64)
    exact = 1 / (1 + (1 / 0.2 - 1) * math.exp(-1.5))  # of x' = x (1 - x)(1 + t)
    errors = [
        abs(float(solve(logistic, start, torch.linspace(0, 1, steps + 1, dtype=torch.float64), solver)) - exact)
        for steps in (8, 16, 32)
    ]
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert math.log2(coarse / fine) == pytest.approx(ORDER[solver], abs=0.25)


@pytest.mark.parametrize("solver", SOLVERS)
def test_against_torchdiffeq(solver: str) -> None:
    torchdiffeq = pytest.importorskip("torchdiffeq", reason="an oracle of the tests alone: pip install torchdiffeq")
    start, times = torch.tensor([1.0, 0.3], dtype=torch.float64), solvers.grid(64, solver)
    ours = solve(pendulum, start, times, solver)
    if solver == "rk4":  # theirs is Kutta's 3/8 rule, another method of order 4: both must be near the solution
        theirs = torchdiffeq.odeint(pendulum, start, times, method="dopri5", rtol=1e-11, atol=1e-12)[-1]
        assert (ours - theirs).abs().max() < 3e-5
        return
    theirs = torchdiffeq.odeint(pendulum, start, times, method=solver)[-1]
    assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("solver", SOLVERS)
def test_grid_and_number_of_evaluations(solver: str) -> None:
    calls = []

    def field(time: Tensor, x: Tensor) -> Tensor:
        calls.append(float(time))
        return torch.ones_like(x)

    times = solvers.grid(64, solver)
    out = solve(field, torch.zeros(3), times, solver)
    assert len(calls) == 64 and len(times) == 64 // EVALUATIONS[solver] + 1
    assert torch.allclose(out, torch.ones(3), atol=1e-5)  # a constant field is solved exactly
    assert times[0] == 0 and times[-1] == 1 and (times.diff() > 0).all() and (times.diff().diff() < 0).all()


def test_half_of_the_way_in_the_first_quarter() -> None:
    times = solvers.warp(torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64))
    assert torch.allclose(times, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), atol=1e-6)


def test_refuses_impossible_values() -> None:
    flow = Flow(4, 8, SMALL).eval()
    heard, mel = torch.zeros(1, 4, 5), torch.zeros(1, 8, 5)
    for wrong, message in (
        ({"solver": "leapfrog"}, "leapfrog"),
        ({"solver": "rk4", "nfe": 3}, "at least 4"),
        ({"tau": 1.5}, "tau 1.5"),
        ({"seeds": [1, 2]}, "2 seeds for 1 items"),
    ):
        with pytest.raises(AudioRestorerError, match=message):
            flow.sample(heard, mel, **{"seeds": [1], **wrong})
    with pytest.raises(AudioRestorerError, match="leapfrog"):
        solve(logistic, heard, torch.tensor([0.0, 1.0]), "leapfrog")


def test_time_embedding() -> None:
    found = time_embedding(torch.tensor([0.0, 0.3]), 64)
    assert found.shape == (2, 128)
    assert torch.equal(found[0], torch.cat([torch.zeros(64), torch.ones(64)]))
    assert found[1, 0] == pytest.approx(math.sin(0.3)) and found[1, 63] == pytest.approx(math.sin(3000), abs=1e-3)


def test_an_item_does_not_depend_on_its_batch_nor_noise_on_length() -> None:
    torch.manual_seed(0)
    flow = Flow(4, 8, SMALL).eval()
    heard, mel = torch.randn(3, 4, 20), torch.randn(3, 8, 20)
    with torch.no_grad():
        together = flow.sample(heard, mel, seeds=[5, 6, 7], nfe=4)
        alone = flow.sample(heard[1:2], mel[1:2], seeds=[6], nfe=4)
        again = flow.sample(heard, mel, seeds=[5, 6, 7], nfe=4)
        other = flow.sample(heard, mel, seeds=[5, 8, 7], nfe=4)
    assert torch.allclose(together[1], alone[0], atol=1e-5)
    assert torch.equal(together, again) and not torch.allclose(together[1], other[1], atol=1e-3)
    long, short = (flow.sample(torch.zeros(1, 4, n), torch.zeros(1, 8, n), seeds=[3], nfe=1, solver="euler", tau=1.0)
                   for n in (40, 20))  # fmt: skip
    reach = 1 + 1 + 2 + 1 + 2  # frames that the field looks ahead
    assert torch.allclose(long[:, :, : 20 - reach], short[:, :, : 20 - reach], atol=1e-5)


def test_a_window_does_not_depend_on_what_lies_far_away() -> None:
    """The condition is normalised by running statistics, not by the window's own."""
    torch.manual_seed(0)
    flow = Flow(4, 8, SMALL).eval()
    heard, mel = torch.randn(1, 4, 60), torch.randn(1, 8, 60)
    changed = mel.clone()
    changed[:, :, 45:] += 3
    with torch.no_grad():
        a, b = (flow.sample(heard, values, seeds=[1], nfe=2)[:, :, :20] for values in (mel, changed))
    assert torch.allclose(a, b, atol=1e-6)


def test_the_flow_learns_a_shift() -> None:
    """Codes that are the heard ones plus what the mels say: a few steps of training bring the sample nearer."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    flow = Flow(2, 2, FlowSettings(hidden=16, layers=2, cycle=1, frequencies=4)).train()
    optimiser = torch.optim.Adam(flow.parameters(), 1e-2)

    def pair() -> tuple[Tensor, Tensor, Tensor]:
        heard, mel = (torch.randn(8, 2, 12, generator=generator) for _ in range(2))
        return heard + 2 * mel, heard, mel

    for _ in range(120):
        target, heard, mel = pair()
        optimiser.zero_grad()
        flow.loss(target, heard, mel, torch.zeros(8), generator).backward()
        optimiser.step()
    target, heard, mel = pair()
    flow.eval()
    with torch.no_grad():
        found = flow.sample(heard, mel, seeds=range(8), nfe=8, tau=0.0)
    assert (found - target).abs().mean() < 0.35 * (heard - target).abs().mean()
