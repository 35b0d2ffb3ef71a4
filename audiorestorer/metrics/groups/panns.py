"""Presence of music, speech and noise in mixture and output, as a PANNs tagger hears it: probabilities, 0 to 1."""

from __future__ import annotations

from collections.abc import Callable
from importlib import util

from audiorestorer.installed import how
from audiorestorer.metrics import tagging
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Sound
from audiorestorer.metrics.groups import Figures, Group, Metric
from audiorestorer.resources import Cost

LONGEST_SEC = 300.0  # of a longer file: 30 windows of 10 s, evenly spread
_PANNS = "probability by a PANNs tagger (Cnn14), 0 to 1"


def unavailable(context: Context) -> str | None:
    if context.tagger is None:
        return context.tagger_hint
    return (
        None
        if util.find_spec("panns_inference")
        else f"the package panns-inference is not installed ({how('setup-models', 'models')})"
    )


def load(context: Context) -> Callable[[Sound, Figures], None]:
    assert context.tagger is not None
    tag = tagging.load(context.tagger, context.device, context.threads)

    def compute(sound: Sound, figures: Figures) -> None:
        heard = tag(sound.excerpt(tagging.RATE_HZ, tagging.WINDOW_SEC, LONGEST_SEC))
        for kind, probability in heard.items():
            figures.put(f"{kind}_presence", lambda probability=probability: probability)  # type: ignore[misc]

    return compute


GROUP = Group(
    metrics=(
        Metric("music_presence_in", "music presence before", "", "lower", 3, _PANNS),
        Metric("music_presence", "music presence after", "", "lower", 3, _PANNS),
        Metric("speech_presence_in", "speech presence before", "", "higher", 3, _PANNS),
        Metric("speech_presence", "speech presence after", "", "higher", 3, _PANNS),
        Metric("noise_presence_in", "noise presence before", "", "lower", 3, _PANNS),
        Metric("noise_presence", "noise presence after", "", "lower", 3, _PANNS),
    ),
    # neither was measured
    cost=Cost(2000, file=1.0),
    place=80,
    load=load,
    sides=("noisy", "output"),
    packages=("panns_inference",),
    unavailable=unavailable,
    state=lambda context: context.tagger["digest"] if context.tagger else None,
)
