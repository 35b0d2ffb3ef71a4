"""The figures of signals in memory, by the same groups of metrics as the files of a batch. Models are loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from audiorestorer.audio import Audio
from audiorestorer.metrics import groups, recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Signals, Sound
from audiorestorer.metrics.groups import Figures, Group
from audiorestorer.metrics.recognisers import Recogniser

WER = "wer"  # with the recogniser's own language model: no batch is here whose transcripts could make another


class Meter:
    """Measures outputs.

    Args:
        figures: names of metrics of the groups that need no transcript, and `WER`.
        not_asked: of these, what is not to be measured here: figure -> why.

    Attributes:
        absent: figure -> why none of it is measured here.
        recogniser: None without `WER`.
    """

    def __init__(
        self, figures: Sequence[str], context: Context | None = None, not_asked: Mapping[str, str] | None = None
    ) -> None:
        self.context = context or Context()
        self.absent = dict(not_asked or {})
        self._groups: list[tuple[Group, list[str], Callable[[Sound, Figures], None] | None]] = []
        asked = [name for name in figures if name not in self.absent]
        unknown = {*asked} - {WER}
        for group in groups.known().values():
            names = [name for name in asked if name in group.bases() and not group.needs_transcript]
            unknown.difference_update(names)
            if names and (reason := group.unavailable(self.context)):
                self.absent |= dict.fromkeys(names, reason)
            elif names:
                self._groups.append((group, names, group.load(self.context) if group.load else None))
        if unknown:
            raise ValueError(f"no group measures {', '.join(sorted(unknown))} of a signal")
        self.recogniser: Recogniser | None = None
        if WER in asked:
            if reason := recognisers.unavailable(self.context):
                self.absent[WER] = reason
            else:
                self.recogniser = recognisers.load(self.context, "general")

    def __call__(
        self, output: Audio, clean: Audio, rate: int, noisy: Audio | None = None, only: Sequence[str] | None = None
    ) -> Figures:
        """The figures, but for `WER`, of an output `[C, T]` against its reference of the same rate and length.

        Args:
            noisy: what the output was made of; where it is not given, no figure may need it.
            only: of the meter's figures those that are of use; None: all.
        """
        result = Figures(())
        signals = Signals(output if noisy is None else noisy, output, clean, rate)
        for group, names, compute in self._groups:
            wanted = [name for name in names if only is None or name in only]
            if not wanted:
                continue
            if compute is None:
                figures = group.measure(signals, wanted)
            else:
                figures = group.measured(compute, Sound.of_signal(output, rate), Figures(group.bases(self.context)))
            result.values |= {name: figures.values[name] for name in wanted if name in figures.values}
            result.missing |= {name: figures.missing[name] for name in wanted if name in figures.missing}
        result.missing |= {name: reason for name, reason in self.absent.items() if only is None or name in only}
        return result

    def hear(self, signal: Audio, rate: int) -> str:
        """The words that the recogniser hears in `[1, T]`. The meter must have one."""
        assert self.recogniser is not None
        return recognisers.hear(self.recogniser, Sound.of_signal(signal, rate))
