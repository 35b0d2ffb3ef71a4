"""Draw docs/enhancer.png: a recording with a telephone's band, what the enhancer makes of it, and the whole recording.

    python -m scripts.release.draw_enhancer RECORDING

The picture in docs/ is of a Greek voice of Potato Guy (Debian's ktuberling-data), which the network was not trained on; the pilot's
own voices have no band above 8 kHz.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

from audiorestorer import audio
from audiorestorer.datasets.enhancement.degraded_sets import degraded
from audiorestorer.dsp import stft
from audiorestorer.separators.extension import SpeechRepair

ROOT = Path(__file__).parents[2]
SECONDS, N_FFT, HOP = 4.0, 1024, 256
RANGE_DB = 70.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, help="a voice with its whole band, at 44.1 kHz or more")
    path = parser.parse_args().recording
    rate = audio.probe(str(path)).sample_rate
    clean = audio.read(str(path), frames=int(SECONDS * rate))[0][:1]
    given = degraded(clean, rate, "band_4khz", 0)
    made = SpeechRepair.load(ROOT / "models/pilot/pilot_extension.safetensors")(given, rate).enhanced
    assert made is not None
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), sharey=True, constrained_layout=True)
    for axis, (title, signal) in zip(
        axes, {"Before: a band of 4 kHz": given, "After": made, "The recording": clean}.items(), strict=True
    ):
        groups = [group for (group,) in stft.analyse([[signal]], signal.shape[1], N_FFT, HOP)]
        level = 20 * np.log10(np.abs(np.concatenate(groups, axis=1)[0]).T + 1e-6)
        top = 20 * np.log10(np.abs(clean).max() * N_FFT / 16)
        extent = (0, signal.shape[1] / rate, 0, rate / 2000)
        axis.imshow(level, origin="lower", aspect="auto", extent=extent, vmin=top - RANGE_DB, vmax=top, cmap="magma")
        axis.set(title=title, xlabel="time, s")
    axes[0].set_ylabel("frequency, kHz")
    figure.savefig(ROOT / "docs/enhancer.png", dpi=75, metadata={"Software": None})


if __name__ == "__main__":
    main()
