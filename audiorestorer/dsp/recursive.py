"""Recursive filters of second-order sections on streams, a block of samples at a time.

scipy.signal has them too, but takes longer to load than a small batch takes to filter. A block of a linear filter is one matrix
product of its samples and one of the state before it; the states follow from one another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 128
GROUP = 15  # blocks in one product: this small it stays on one BLAS thread (see `dsp.true_peak`)


class Sections:
    """A cascade of second-order sections, `[S, 6]` as scipy has them (b0, b1, b2, 1, a1, a2); its state begins at zero."""

    def __init__(self, sections: NDArray[np.float64], channels: int) -> None:
        self.state = np.zeros((channels, 2 * len(sections)))
        size = self.state.shape[1]
        steps = [_step(sections, unit, 0.0) for unit in np.eye(size)]
        forward = np.array([state for state, _ in steps])  # row vectors: state @ forward is the next state
        seen = np.array([output for _, output in steps])
        entered, direct = _step(sections, np.zeros(size), 1.0)
        self.powers = [np.eye(size)]
        for _ in range(BLOCK):
            self.powers.append(self.powers[-1] @ forward)
        impulse = np.array([direct, *(entered @ power @ seen for power in self.powers[: BLOCK - 1])])
        lags = np.arange(BLOCK) - np.arange(BLOCK)[:, None]
        self.direct = np.where(lags >= 0, impulse[np.maximum(lags, 0)], 0.0)  # [in, out]
        self.of_state = np.array([power @ seen for power in self.powers[:BLOCK]]).T  # [state, out]
        self.to_state = np.array([entered @ power for power in self.powers[:BLOCK]])[::-1]  # [in, state]

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The filtered samples of the next `[C, n]`."""
        whole = x.shape[1] // BLOCK * BLOCK
        out = np.empty_like(x)
        step = GROUP * BLOCK
        for begin in range(0, whole, step):
            end = min(begin + step, whole)
            out[:, begin:end] = self._blocks(x[:, begin:end])
        if rest := x.shape[1] - whole:
            given = x[:, whole:]
            out[:, whole:] = given @ self.direct[:rest, :rest] + self.state @ self.of_state[:, :rest]
            self.state = self.state @ self.powers[rest] + given @ self.to_state[BLOCK - rest :]
        return out

    def _blocks(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        blocks = x.reshape(len(x), -1, BLOCK)
        entering = blocks @ self.to_state
        before = np.empty_like(entering)
        over = self.powers[BLOCK]
        for number in range(blocks.shape[1]):
            before[:, number] = self.state
            self.state = self.state @ over + entering[:, number]
        out: NDArray[np.float64] = blocks @ self.direct + before @ self.of_state
        return out.reshape(x.shape)


def _step(sections: NDArray[np.float64], state: NDArray[np.float64], x: float) -> tuple[NDArray[np.float64], float]:
    """One sample through the cascade in the transposed direct form II: the next state, and the output."""
    following = np.empty_like(state)
    for number, (b0, b1, b2, _, a1, a2) in enumerate(sections):
        first, second = state[2 * number], state[2 * number + 1]
        y = b0 * x + first
        following[2 * number] = b1 * x - a1 * y + second
        following[2 * number + 1] = b2 * x - a2 * y
        x = float(y)
    return following, x
