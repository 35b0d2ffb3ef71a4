"""What each metric is called, its unit and which way is better; safe access to metrics.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A column of the results. `better`: `higher`, `lower` or `target` (a set value is reached); `digits` after the point."""

    name: str
    title: str
    unit: str
    better: str
    digits: int = 2
    meaning: str = ""

    @property
    def hint(self) -> str:
        return {"higher": "higher is better", "lower": "lower is better"}.get(self.better, "as configured is best")


_SISDR = "scale-invariant signal-to-distortion ratio against the clean reference"
_STOI = "short-time objective intelligibility, 0 to 1"
_LSD = "log-spectral distance to the clean reference"
_M2S = "level of what is left beside the speech, relative to the speech"
_BLIND = (
    "what sounds in the speaker's pauses, relative to the speech; needs no reference, compares a file with itself only"
)
_WER = (
    "word error rate of the recogniser; pocketsphinx is helped by a language model of the batch's transcripts: read it beside the"
    " clean one"
)
_WER_OPEN = "word error rate with pocketsphinx's general language model"
_PESQ = "wideband PESQ against the clean reference, ITU-T P.862.2, 1.04 to 4.64"
_DNSMOS = "predicted mean opinion score, 1 to 5; needs no reference; trained on noisy speech"
_PANNS = "probability by a PANNs tagger (Cnn14), 0 to 1"
METRICS = (
    Metric("si_sdr_improvement_db", "SI-SDR improvement", "dB", "higher", 2, "SI-SDR after minus before"),
    Metric("si_sdr_in_db", "SI-SDR before", "dB", "higher", 2, _SISDR),
    Metric("si_sdr_db", "SI-SDR after", "dB", "higher", 2, _SISDR),
    Metric("music_to_speech_in_db", "music to speech before", "dB", "lower", 2, _M2S),
    Metric("music_to_speech_db", "music to speech after", "dB", "lower", 2, _M2S),
    Metric("music_to_speech_blind_in_db", "music to speech before, blind", "dB", "lower", 2, _BLIND),
    Metric("music_to_speech_blind_db", "music to speech after, blind", "dB", "lower", 2, _BLIND),
    Metric("stoi_in", "STOI before", "", "higher", 3, _STOI),
    Metric("stoi", "STOI after", "", "higher", 3, _STOI),
    Metric("estoi_in", "ESTOI before", "", "higher", 3, "extended " + _STOI),
    Metric("estoi", "ESTOI after", "", "higher", 3, "extended " + _STOI),
    Metric("wer_in", "WER before", "", "lower", 3, _WER),
    Metric("wer", "WER after", "", "lower", 3, _WER),
    Metric("wer_clean", "WER of the clean", "", "lower", 3, "what the recogniser gets wrong even without music"),
    Metric("wer_open_in", "WER before, open vocabulary", "", "lower", 3, _WER_OPEN),
    Metric("wer_open", "WER after, open vocabulary", "", "lower", 3, _WER_OPEN),
    Metric("wer_open_clean", "WER of the clean, open vocabulary", "", "lower", 3, _WER_OPEN),
    Metric("pesq_in", "PESQ before", "MOS-LQO", "higher", 2, _PESQ),
    Metric("pesq", "PESQ after", "MOS-LQO", "higher", 2, _PESQ),
    Metric("dnsmos_ovrl_in", "DNSMOS overall before", "MOS", "higher", 2, _DNSMOS),
    Metric("dnsmos_ovrl", "DNSMOS overall after", "MOS", "higher", 2, _DNSMOS),
    Metric("dnsmos_sig_in", "DNSMOS speech before", "MOS", "higher", 2, _DNSMOS),
    Metric("dnsmos_sig", "DNSMOS speech after", "MOS", "higher", 2, _DNSMOS),
    Metric("dnsmos_bak_in", "DNSMOS background before", "MOS", "higher", 2, _DNSMOS),
    Metric("dnsmos_bak", "DNSMOS background after", "MOS", "higher", 2, _DNSMOS),
    Metric("dnsmos_p808_in", "DNSMOS P.808 before", "MOS", "higher", 2, _DNSMOS),
    Metric("dnsmos_p808", "DNSMOS P.808 after", "MOS", "higher", 2, _DNSMOS),
    Metric("lsd_in_db", "LSD before", "dB", "lower", 2, _LSD),
    Metric("lsd_db", "LSD after", "dB", "lower", 2, _LSD),
    Metric("residual_ratio", "residual ratio", "", "lower", 3, "error energy after, relative to before"),
    Metric("composite", "composite", "of 100", "higher", 1, "weighted score of SI-SDR, LSD and residual"),
    Metric("music_presence_in", "music presence before", "", "lower", 3, _PANNS),
    Metric("music_presence", "music presence after", "", "lower", 3, _PANNS),
    Metric("speech_presence_in", "speech presence before", "", "higher", 3, _PANNS),
    Metric("speech_presence", "speech presence after", "", "higher", 3, _PANNS),
    Metric("noise_presence_in", "noise presence before", "", "lower", 3, _PANNS),
    Metric("noise_presence", "noise presence after", "", "lower", 3, _PANNS),
    Metric("lufs_in", "loudness before", "LUFS", "target", 1, "integrated loudness, ITU-R BS.1770"),
    Metric("lufs", "loudness after", "LUFS", "target", 1, "integrated loudness, ITU-R BS.1770"),
    Metric("true_peak_dbtp", "true peak after", "dBTP", "target", 1, "stays below the configured ceiling"),
)
BY_NAME = {metric.name: metric for metric in METRICS}


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def get_number(item: Mapping[str, Any], name: str) -> float | None:
    """An item's metric, or None where it is missing."""
    return number(item.get(name))


def missing_reason(item: Mapping[str, Any], name: str) -> str:
    """Why an item lacks a metric."""
    return str((item.get("missing") or {}).get(name) or "not measured")


def items_ok(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The items that went through, sorted by id."""
    return sorted(
        (item for item in metrics.get("items", ()) if item.get("status") == "ok"), key=lambda item: str(item["id"])
    )


def snr_of(item: Mapping[str, Any]) -> float | None:
    """The SNR at which an item was mixed, where that is known."""
    return number((item.get("conditions") or {}).get("snr_db"))


def shown(value: float | None, metric: Metric) -> str:
    """A number as text: fixed digits, a true minus sign; an en dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{metric.digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def benefit(item: Mapping[str, Any]) -> tuple[float | None, str]:
    """How much an item gained and by which metric: SI-SDR improvement, else the fall of music to speech, of the blind one where
    there is no reference; else None."""
    gained = get_number(item, "si_sdr_improvement_db")
    if gained is not None:
        return gained, "si_sdr_improvement_db"
    for stem in ("music_to_speech", "music_to_speech_blind"):
        before, after = get_number(item, f"{stem}_in_db"), get_number(item, f"{stem}_db")
        if before is not None and after is not None:
            return before - after, f"{stem}_db"
    return None, ""
