"""PANNs audio tagging (Kong et al. 2020) through panns-inference's Cnn14, with labels and checkpoint from the registry.

panns-inference reads its labels from the home folder when it is imported, and starts wget where they are missing; its `AudioTagging`
does the same for the checkpoint. Here the import sees a home folder that holds the registry's labels, and the network is filled by us.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.tables import read_exact

RATE_HZ = 32_000
WINDOW_SEC = 10.0  # the length that the network was trained on
LEAST_SEC = 1.0  # shorter signals are padded with silence: five poolings by two need 0.32 s
BATCH = 8
CNN14 = {"sample_rate": RATE_HZ, "window_size": 1024, "hop_size": 320, "mel_bins": 64, "fmin": 50, "fmax": 14_000}

# The published checkpoint may hold the training's sampler beside the weights: numpy arrays and a RandomState, which execute nothing.
NUMPY_GLOBALS = (
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar", "numpy.ndarray", "numpy.dtype", "numpy.random._pickle.__randomstate_ctor",
    "numpy.random._pickle.__bit_generator_ctor", "numpy.random.mtrand.RandomState", "numpy.random._mt19937.MT19937",
)  # fmt: skip

# AudioSet's display names; a class's probability is the highest of its names'
CLASSES: Mapping[str, tuple[str, ...]] = {
    "music": ("Music",),
    "speech": ("Speech",),
    "noise": (
        "Noise", "White noise", "Pink noise", "Static", "Hum", "Mains hum", "Hiss", "Crackle", "Environmental noise",
        "Hubbub, speech noise, speech babble",
    ),
}  # fmt: skip


def read_labels(path: Path) -> list[str]:
    """Display names in the order of the outputs, of `class_labels_indices.csv` (index, mid, display_name).

    Raises:
        AudioRestorerError: not such a file, or a name that is needed is missing.
    """
    try:
        names = [row["display_name"] for row in read_exact(path)]
    except (AudioRestorerError, KeyError) as error:
        raise AudioRestorerError(f"{path}: not AudioSet's class_labels_indices.csv: {error!s:.100}") from error
    absent = sorted({name for group in CLASSES.values() for name in group} - set(names))
    if absent:
        raise AudioRestorerError(f"{path}: lacks the class {absent[0]!r}")
    return names


@contextmanager
def _home_with(labels: Path) -> Iterator[None]:
    """A home folder that holds nothing but the labels where panns-inference looks for them."""
    before = os.environ.get("HOME")
    with tempfile.TemporaryDirectory(prefix="audiorestorer-panns-") as home:
        (Path(home) / "panns_data").mkdir()
        shutil.copyfile(labels, Path(home) / "panns_data" / "class_labels_indices.csv")
        os.environ["HOME"] = home
        try:
            yield
        finally:
            os.environ.pop("HOME") if before is None else os.environ.update(HOME=before)


def network_class(labels: Path) -> Any:
    """panns-inference's Cnn14 class, imported so that nothing is fetched."""
    stale = [name for name in sys.modules if name.split(".")[0] == "panns_inference"]
    for name in stale:  # imported with other labels
        del sys.modules[name]
    with _home_with(labels):
        return importlib.import_module("panns_inference.models").Cnn14


def _weights(checkpoint: Path, name: str, network: Any) -> Mapping[str, Any]:
    """The checkpoint's `model`, read without executing anything, with the network's names and shapes."""
    from audiorestorer.models import torch_files

    allowed: list[Any] = []
    for full in NUMPY_GLOBALS:
        module, _, attribute = full.rpartition(".")
        with contextlib.suppress(ImportError, AttributeError):
            allowed.append((getattr(importlib.import_module(module), attribute), full))
    allowed += [
        (kind, f"numpy.dtypes.{kind.__name__}") for kind in {type(np.dtype(code)) for code in "bBhHiIlLqQefdg?"}
    ]
    try:
        state = torch_files.read(checkpoint, allowed)["model"]
        shapes = {key: value.shape for key, value in network.state_dict().items()}
        if {key: value.shape for key, value in state.items()} != shapes:
            raise ValueError("its tensors are not those of Cnn14 with 527 classes")
    except Exception as error:  # torch raises whatever a damaged or foreign file leads to
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AudioRestorerError(f"model {name}: {checkpoint}: not a Cnn14 checkpoint ({reason:.200})") from error
    return dict(state)


def load(record: Mapping[str, Any], device: str = "cpu", threads: int = 1) -> Callable[[Audio], dict[str, float]]:
    """The tagger of a fetched model's record: mono signal `[T]` at 32 kHz -> highest probability of music, speech and noise.

    Signals longer than 10 s are cut into equal windows of at most 10 s; the result is the mean over the windows.

    Raises:
        AudioRestorerError: files missing from the record, not a Cnn14 checkpoint.
    """
    files = [Path(file["path"]) for file in record["files"]]
    labels = next((path for path in files if path.suffix == ".csv"), None)
    checkpoint = next((path for path in files if path.suffix in (".pth", ".pt")), None)
    if labels is None or checkpoint is None:
        raise AudioRestorerError(f"model {record['name']}: needs class_labels_indices.csv and a .pth checkpoint")
    import torch

    names = read_labels(labels)
    network = network_class(labels)(classes_num=len(names), **CNN14).eval()
    network.load_state_dict(_weights(checkpoint, str(record["name"]), network))
    torch.set_num_threads(threads)
    network.to(device)
    places = {group: [names.index(name) for name in wanted] for group, wanted in CLASSES.items()}

    def tag(mono: Audio) -> dict[str, float]:
        probabilities = []
        windows = equal_windows(mono)
        with torch.inference_mode():
            for start in range(0, len(windows), BATCH):
                out = network(torch.from_numpy(windows[start : start + BATCH]).to(device), None)
                probabilities.append(out["clipwise_output"].float().cpu().numpy())
        mean = np.concatenate(probabilities).mean(axis=0)
        return {group: float(mean[indices].max()) for group, indices in places.items()}

    return tag


def equal_windows(mono: Audio) -> NDArray[np.float32]:
    """`[N, T]`: as few windows of equal length as keep each within 10 s; the last sample is repeated at most N - 1 times."""
    mono = np.pad(mono, (0, max(0, int(LEAST_SEC * RATE_HZ) - len(mono))))
    count = -(-len(mono) // int(WINDOW_SEC * RATE_HZ))
    size = -(-len(mono) // count)
    return np.pad(mono, (0, count * size - len(mono)), mode="edge").reshape(count, size).astype(np.float32)
