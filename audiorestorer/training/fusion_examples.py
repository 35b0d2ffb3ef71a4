"""Examples for the fusion network: mixtures of the mixer, the separators' estimates of their speech, and the speech.

The estimates cost more than a step of the training: they are made once, a file for each example, and an interrupted run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from audiorestorer.audio import Audio
from audiorestorer.datasets.mixtures import Mixer
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import replacing
from audiorestorer.separators import Loaded
from audiorestorer.separators.runtime.streaming import Recording, estimates, full_band

PEAK = 0.7
LOG = logging.getLogger(__name__)


def estimated(networks: Sequence[Loaded], mixture: Audio, rate: int) -> Audio:
    """The mixture `[1, T]` and each network's estimate of its speech, in full band: `[1 + n, T]`."""
    recording = Recording(lambda: iter([mixture]), rate, 1, mixture.shape[1])
    rows = [mixture]
    for network in networks:
        blocks = [full_band(block) for block in estimates(network, recording)]
        rows.append(np.concatenate(blocks, axis=1))
    return np.concatenate(rows)


def write_examples(
    mixer: Mixer, networks: Sequence[Loaded], count: int, folder: Path, part: tuple[int, int] = (0, 1)
) -> None:
    """Write examples 0 .. count - 1 as `NUMBER.npy`, `[2 + n, T]` float16: mixture, estimates, speech. Those that are there stay.

    `part`: (k, n): only the numbers k, k + n, k + 2 n ..., for n processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(part[0], count, part[1])
    for done, number in enumerate(numbers, 1):
        path = folder / f"{number:06d}.npy"
        if not path.exists():
            example = mixer.example(0, number)
            peak = float(np.abs(example.mixture).max())
            gain = np.float32(PEAK / peak if peak > 0 else 1)
            rows = estimated(networks, example.mixture[None] * gain, mixer.bank.sample_rate)
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.save(file, np.concatenate([rows, example.target[None] * gain]).astype(np.float16))
        if done % 100 == 0 or done == len(numbers):
            LOG.info("fusion examples: %d of %d", done, len(numbers))


@lru_cache(maxsize=2)  # an epoch may end in the middle of a turn
def _order(seed: int, turn: int, count: int) -> NDArray[np.int64]:
    """The order of so many examples in one turn over all of them."""
    return np.random.default_rng((seed, turn)).permutation(count)


class FusionExamples(Dataset[NDArray[np.float32]]):
    """The files of a folder in another order in each epoch: `[2 + n, T]` float32.

    Raises:
        AudioRestorerError: fewer files than one epoch takes.
    """

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        self.paths, self.size, self.seed, self.epoch = sorted(folder.glob("*.npy")), size, seed, 0
        if len(self.paths) < min(size, 2):
            raise AudioRestorerError(
                f"{folder}: has {len(self.paths)} examples: make them with `audiorestorer fusion-examples`"
            )

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        place = self.epoch * self.size + index
        turn, within = divmod(place, len(self.paths))
        return np.load(self.paths[_order(self.seed, turn, len(self.paths))[within]], allow_pickle=False).astype(
            np.float32
        )
