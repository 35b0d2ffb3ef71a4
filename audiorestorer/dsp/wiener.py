"""The beta-Wiener post-mask."""

from __future__ import annotations

import numpy as np

from audiorestorer.dsp.masks import Mask, share
from audiorestorer.dsp.stft import Spectrum


def beta_wiener(speech: Spectrum, mixture: Spectrum, beta: float, eps: float = 1e-12) -> Mask:
    """W = |V|^beta / (|V|^beta + |X - V|^beta + eps): the generalised Wiener filter (Liutkus & Badeau 2015, eq. 6, with two sources).

    Args:
        speech: V, the estimate. mixture: X. Both `[C, N, F]`.
    """
    return share(speech, mixture - speech, beta, eps)


def apply_floor(mask: Mask, floor: float) -> Mask:
    """max(W, floor): limits how far any cell is turned down, which keeps musical noise masked."""
    return np.maximum(mask, np.float32(floor))
