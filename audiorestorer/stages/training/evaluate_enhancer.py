"""Measure an enhancer on degraded versions of clean speech: the input, denoised only, enhanced, and a denoiser beside them.

Everything is measured at the reference's own rate: what a reference does not have, no output is charged with. Finished items lie in
the store: a killed run goes on with the same line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import EnhanceSettings
from audiorestorer.datasets.enhancement.degraded_sets import CONDITIONS, degraded
from audiorestorer.digest import code_digest
from audiorestorer.dsp.views import turned, view_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json, write_csv, write_text_atomic
from audiorestorer.intake.pairs import of_transcripts, transcripts_of
from audiorestorer.manifest import Item, unique_ids
from audiorestorer.metrics import Missing, recognisers
from audiorestorer.metrics.context import EMBEDDED_RECOGNISER, Context
from audiorestorer.metrics.meter import WER, Meter
from audiorestorer.metrics.spectral import distances
from audiorestorer.metrics.statistics import describe
from audiorestorer.metrics.texts import word_error_rate
from audiorestorer.names import NOT_TEXT, as_text, is_text
from audiorestorer.report.tables import markdown_table
from audiorestorer.separators import Loaded, ModelFiles
from audiorestorer.separators.enhancers import enhancer_of
from audiorestorer.separators.enhancing import RecordingEnhancer
from audiorestorer.separators.mask_network import Checkpoint, MaskNetwork
from audiorestorer.separators.runtime.streaming import Recording, estimates, full_band
from audiorestorer.separators.word_gate import verdict
from audiorestorer.stages.job import Job
from audiorestorer.stages.network import NO_KEY
from audiorestorer.stages.shard import ItemResult, RejectItem, Stage, run_items
from audiorestorer.store import sha256_file

log = logging.getLogger("audiorestorer")
SYSTEMS = ("input", "denoised", "enhanced", "denoiser")
LONGEST_SEC, SHORTEST_SEC = 20.0, 0.5
# name, title, digits; up or down: which way is better
FIGURES = (
    ("lsd_db", "LSD, dB ↓", 2), ("lsd_high_db", "LSD above 4 kHz, dB ↓", 2), ("mel_db", "mel distance, dB ↓", 2),
    ("stoi", "STOI ↑", 3), ("pesq", "PESQ ↑", 2), ("wer", "WER ↓", 3), ("wer_change", "words changed ↓", 3),
    ("dnsmos_ovrl", "DNSMOS ↑", 2), ("si_sdr_db", "SI-SDR, dB ↑", 1),
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """The systems that are compared, and what measures them: loaded once."""

    enhancer: RecordingEnhancer
    denoiser: MaskNetwork | None
    meter: Meter


def run(
    speech: Path,
    checkpoint: Path,
    out: Path,
    config: EnhanceSettings,
    job: Job,
    *,
    denoiser: Path | None = None,
    own_denoiser: Path | None = None,
    transcripts: Path | None = None,
    recogniser: Path | None = None,
    conditions: list[str] | None = None,
    limit: int | None = None,
    dnsmos: bool = False,
    words: bool = True,
) -> dict[str, Any]:
    """Write `quality.json`, `quality.csv` and `quality.md`.

    Args:
        speech: folder of clean recordings, best of voices that no training saw; the first 20 s of each, its channels as one signal.
        out: folder.
        checkpoint, denoiser: safetensors files, or what `fetch-model` wrote; a mask network to compare with.
        own_denoiser: what `fetch-model` wrote: the denoiser that a model of kind extension uses.
        transcripts: TSV with the columns path (below `speech`, any suffix) and transcript; where there is none, what is heard in
            the clean recording is the truth.
        limit: so many recordings at most, evenly over the sorted list.
        words: whether a recogniser counts wrong words; it takes most of the time.
        conditions: of `CONDITIONS`; None: all.

    Raises:
        AudioRestorerError: no recordings, an unknown condition, or a checkpoint that cannot be used.
    """
    chosen = conditions or list(CONDITIONS)
    if not speech.is_dir():
        raise AudioRestorerError(f"{speech}: no such folder")
    unknown = [name for name in chosen if name not in CONDITIONS]
    if unknown:
        raise AudioRestorerError(f"conditions {', '.join(unknown)}: not of {', '.join(CONDITIONS)}")
    checkpoint, denoiser = _weights(checkpoint), _weights(denoiser) if denoiser else None
    items = _items(speech, chosen, transcripts, limit)
    kind = read_json(recogniser)["kind"] if recogniser else EMBEDDED_RECOGNISER
    stage: Stage[Bench] = Stage(
        name="evaluate-enhancer",
        settings=[config.model_dump(exclude=NO_KEY), dnsmos, words, kind],
        code=code_digest("stages.training.evaluate_enhancer", f"metrics.recognisers.{kind}"),
        weights=":".join(
            sha256_file(path) if path else "" for path in (checkpoint, denoiser, own_denoiser, recogniser)
        ),
        load=lambda: _bench(checkpoint, denoiser, own_denoiser, config, recogniser, dnsmos, words, job),
        process=lambda bench, item, _: _measured(bench, item, config.seed, config.max_wer),
        describe=lambda entry, item: item.updated(**entry.row),
        inputs=lambda item: [item.sha256, item.condition, item.transcript],
    )
    rows = run_items(stage, items, job.store)
    entries = summary(rows, chosen)
    result = {
        "settings": config.model_dump(), "checkpoint": sha256_file(checkpoint), "recordings": len(items) // len(chosen),
        "summary": entries,
        "items": [
            {"id": row.id, "condition": row.condition, "status": row.status, "reason": row.reason,
             "figures": row.figures, "missing": row.missing} for row in rows
        ],
    }  # fmt: skip
    write_text_atomic(out / "quality.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    names = [name for name, *_ in FIGURES]
    write_csv(out / "quality.csv", ["condition", "system", "n", *names, "fallbacks"], _flat(entries))
    write_text_atomic(out / "quality.md", table(entries))
    print(table(entries), flush=True)
    return result


def summary(rows: list[Item], conditions: list[str]) -> list[dict[str, Any]]:
    """Statistics of each condition and system: `condition`, `system`, and each figure as `statistics.describe` gives it."""
    out = []
    for condition in conditions:
        done = [row for row in rows if row.ok and row.condition == condition]
        for system in SYSTEMS:
            with_it = [row for row in done if system in (row.figures or {})]
            if not with_it:
                continue
            entry: dict[str, Any] = {"condition": condition, "system": system, "n": len(with_it)}
            for name, *_ in FIGURES:
                found = [(row.figures or {})[system].get(name) for row in with_it]
                reasons = [(row.missing or {})[system][name] for row in with_it if name in (row.missing or {})[system]]
                entry[name] = describe([value for value in found if value is not None], reasons)
            if system == "enhanced":
                entry["fallbacks"] = sum(bool(row.fallback) for row in with_it)
            out.append(entry)
    return out


def table(entries: list[dict[str, Any]]) -> str:
    """Medians as Markdown; figures that no item has are left out and named below with the reason."""
    shown = [figure for figure in FIGURES if any("median" in entry[figure[0]] for entry in entries)]
    body = [
        [entry["condition"], entry["system"], str(entry["n"]), *(_cell(entry[name], digits) for name, _, digits in shown)]
        for entry in entries
    ]  # fmt: skip
    text = markdown_table(["condition", "system", "n", *(title for _, title, _ in shown)], body)
    absent = {
        title: next((entry[name]["missing_reason"] for entry in entries if "missing_reason" in entry[name]), "not asked for")
        for name, title, _ in FIGURES if not any("median" in entry[name] for entry in entries)
    }  # fmt: skip
    return text + "".join(f"\nNot measured: {title.rstrip(' ↑↓')}: {reason}.\n" for title, reason in absent.items())


def _cell(found: Mapping[str, Any], digits: int) -> str:
    return f"{found['median']:.{digits}f}" if "median" in found else "–"


def _flat(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value.get("median", "") if isinstance(value, dict) else value for name, value in entry.items()}
        for entry in entries
    ]


def _items(speech: Path, conditions: list[str], transcripts: Path | None, limit: int | None) -> list[Item]:
    """An item per recording and condition."""
    found = audio.recordings(speech)
    names = [name for name in found if is_text(name)]
    for name in found.keys() - set(names):
        log.warning("evaluate-enhancer: left out: %s: %s", as_text(name), NOT_TEXT)
    if limit is not None and limit < len(names):
        names = [names[int(place)] for place in np.linspace(0, len(names) - 1, limit)]
    ids = unique_ids(names)
    texts = transcripts_of(transcripts, names, speech)
    for entry in of_transcripts(texts, names, transcripts):
        log.warning("evaluate-enhancer: %s", entry["text"])
    return [
        Item(
            id=f"{ids[name]}.{condition}", noisy=str(found[name]), path=str(found[name]), sha256=sha256_file(found[name]),
            relative=name, transcript=texts.of.get(name, {}).get("transcript"), condition=condition,
        )
        for name in names for condition in conditions
    ]  # fmt: skip


def _weights(path: Path) -> Path:
    """Raises AudioRestorerError: unreadable."""
    found = ModelFiles.read(path).one(".safetensors") if path.suffix == ".json" else path
    if not found.is_file():
        raise AudioRestorerError(f"{found}: no such file")
    return found


def _bench(
    checkpoint: Path,
    denoiser: Path | None,
    own_denoiser: Path | None,
    config: EnhanceSettings,
    recogniser: Path | None,
    dnsmos: bool,
    words: bool,
    job: Job,
) -> Bench:
    kept = config.model_copy(update={"sample_rate": "keep"})
    enhancer = enhancer_of(
        checkpoint, kept, job.device, job.threads, ModelFiles.read(own_denoiser) if own_denoiser else None
    )
    context = Context(read_json(recogniser) if recogniser else None, device=enhancer.device, threads=job.threads)
    other = None
    if denoiser is not None:
        other = Checkpoint(denoiser).load(enhancer.device, job.threads)
    not_asked = {} if dnsmos else {"dnsmos_ovrl": "not asked for (--dnsmos)"}
    figures = ["stoi", "pesq", "dnsmos_ovrl", "si_sdr_db", *([WER] if words else [])]
    return Bench(enhancer, other, Meter(figures, context, not_asked))


def _measured(bench: Bench, item: Item, seed: int, max_wer: float | None) -> ItemResult:
    """The figures of every system for one recording and condition.

    Raises:
        RejectItem: unreadable, too short, silent, or not finite.
    """
    try:
        clean, rate = _clean(item.noisy)
        given = degraded(clean, rate, item.condition or "", seed)
        versions = _versions(bench, given, rate, seed)
    except AudioRestorerError as error:
        raise RejectItem(str(error)) from error
    meter = bench.meter
    heard = {name: meter.hear(signal, rate) for name, signal in versions.items()} if meter.recogniser else {}
    truth = item.transcript or (meter.hear(clean, rate) if meter.recogniser else "")
    error_rate = partial(recognisers.rate, meter.context) if item.transcript else word_error_rate
    measured = {name: meter(signal, clean, rate) for name, signal in versions.items()}
    for name, signal in versions.items():
        figures = measured[name]
        try:
            figures.values |= distances(signal, clean, rate)
        except Missing as reason:
            figures.missing |= dict.fromkeys(("lsd_db", "mel_db"), str(reason))
        if name in heard:
            figures.put(WER, partial(error_rate, truth, heard[name]))
    row: dict[str, Any] = {
        "figures": {name: figures.values for name, figures in measured.items()},
        "missing": {name: figures.missing for name, figures in measured.items()},
    }
    if "enhanced" in heard:
        measured["enhanced"].put("wer_change", partial(word_error_rate, heard["denoised"], heard["enhanced"]))
        if max_wer is not None and bench.enhancer.may_change_words:
            known = item.transcript if not recognisers.unfit(meter.context, item.transcript or "") else None
            row["fallback"] = verdict(heard["denoised"], heard["enhanced"], known, max_wer).changed
    return ItemResult({}, row)


def _clean(path: str) -> tuple[Audio, int]:
    info = audio.probe(path)
    whole, rate = audio.read(path, frames=int(LONGEST_SEC * info.sample_rate))
    clean = turned(whole, view_of([whole])).mean(axis=0, keepdims=True, dtype=np.float32)
    if clean.shape[1] < SHORTEST_SEC * rate or not np.isfinite(clean).all() or not np.any(clean):
        raise AudioRestorerError(f"{path}: shorter than {SHORTEST_SEC} s, silent, or NaN or infinite samples")
    return clean, rate


def _versions(bench: Bench, given: Audio, rate: int, seed: int) -> dict[str, Audio]:
    """The outputs of each system for `[1, T]`, aligned with it."""
    made = bench.enhancer(given, rate, seed)
    versions = {"input": given, "denoised": made.denoised}
    if made.enhanced is not None:
        versions["enhanced"] = made.enhanced
    if bench.denoiser is not None:
        recording = Recording(lambda: iter([given]), rate, *given.shape)
        blocks = [full_band(block) for block in estimates(Loaded(bench.denoiser), recording)]
        versions["denoiser"] = np.concatenate(blocks, axis=1).astype(np.float32)
    return versions
