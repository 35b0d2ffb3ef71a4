"""The ablation's recordings: clean ones to train on, stand-ins of real ones, and degraded test items with all that was drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from audiorestorer import audio
from audiorestorer.config import AblationDataSettings
from audiorestorer.datasets.degradation import ablation_sets as sets
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import named_from, write_rows
from audiorestorer.manifest import item_id

TRAIN, REAL, TEST = "train.jsonl", "real.jsonl", "test.jsonl"
PROGRESS_EVERY = 16


def run(
    out: Path,
    settings: AblationDataSettings,
    *,
    speech: Path | None = None,
    manifest: Path | None = None,
    real: Path | None = None,
    sample_rate: int = 22050,
) -> dict[str, int]:
    """Write `train.jsonl`, `real.jsonl`, `test.jsonl` and the recordings below a folder.

    Args:
        speech: folder with `clean` and `transcripts.tsv` (data/pilot), to which generated tracks are added.
        manifest: instead of that, a training manifest with the splits train, valid and test.
        real: real degraded recordings that training will use: then no stand-ins are made, and no condition `like_real`.

    Returns:
        How many recordings each of train, valid, real and test has.

    Raises:
        AudioRestorerError: neither or both of speech and manifest, or one that cannot be used.
    """
    if (speech is None) == (manifest is None):
        raise AudioRestorerError("make-degraded: give either --speech or --manifest")
    if manifest is not None:
        sources = sets.of_manifest(manifest, keep_some=real is None, seed=settings.seed)
    else:
        assert speech is not None
        sources = sets.pilot(speech, settings.tracks, sample_rate, settings.seed)
    counts = Counter(source.role for source in sources)
    train = [
        _clean_row(source, out, sample_rate) for role in ("train", "valid") for source in sets.of_role(sources, role)
    ]
    shelf = [] if real else _shelf(sources, out, settings, sample_rate)
    conditions = [sets.UNSEEN] if real else [sets.UNSEEN, sets.LIKE_REAL]
    test = [row for condition in conditions for row in _test_rows(sources, condition, out, settings, sample_rate)]
    for name, rows in ((TRAIN, train), (REAL, shelf), (TEST, test)):
        write_rows(out / name, rows)
    counted = {"train": counts["train"], "valid": counts["valid"], "real": len(shelf), "test": len(test)}
    print(", ".join(f"{name} {number}" for name, number in counted.items()), flush=True)
    return counted


def _clean_row(source: sets.Source, out: Path, rate: int) -> dict[str, Any]:
    """A training row; what is in no file of this rate is written to one."""
    path = source.path
    if path is None or audio.probe(path).sample_rate != rate:
        path = out / "clean" / source.role / f"{item_id(source.id)}.wav"
        audio.write(path, source.read(rate), rate)
    info = audio.probe(path)
    return {
        "id": source.id, "split": source.role, "clean": named_from(path, out), "noisy": None, "sr": info.sample_rate,
        "duration": round(info.duration_sec, 6), "finite": True,
    }  # fmt: skip


def _shelf(sources: list[sets.Source], out: Path, settings: AblationDataSettings, rate: int) -> list[dict[str, Any]]:
    """Degraded recordings, and rows of them without a clean side."""
    rows = []
    for number in range(settings.stand_ins):
        degraded = sets.stand_in(sets.of_role(sources, "real"), number, rate, settings.seed)
        name = f"stand_in{number:04d}"
        audio.write(out / "real" / f"{name}.wav", degraded.noisy, rate)
        rows.append({"id": name, "noisy": f"real/{name}.wav", "record": degraded.record})
        _progress("stand-ins", number + 1, settings.stand_ins)
    return rows


def _test_rows(
    sources: list[sets.Source], condition: str, out: Path, settings: AblationDataSettings, rate: int
) -> list[dict[str, Any]]:
    """Pairs of a condition, with the places of their impulses and the record of what was drawn."""
    rows = []
    for number in range(settings.items):
        source, item = sets.item_of(
            sets.of_role(sources, "test"), condition, number, settings.item_sec, rate, settings.seed
        )
        name = f"{condition}{number:04d}"
        for part, samples in (("clean", item.target), ("noisy", item.noisy)):
            audio.write(out / "test" / f"{name}_{part}.wav", samples, rate)
        rows.append(
            {
                "id": name, "split": "test", "condition": condition, "source": source.id, "clean": f"test/{name}_clean.wav",
                "noisy": f"test/{name}_noisy.wav", "sr": rate, "duration": round(item.noisy.shape[1] / rate, 6),
                "starts": item.impulses.starts.tolist(), "widths_sec": item.impulses.widths_sec.tolist(), "record": item.record,
            }
        )  # fmt: skip
        _progress(condition, number + 1, settings.items)
    return rows


def _progress(what: str, done: int, of: int) -> None:
    if done % PROGRESS_EVERY == 0 or done == of:
        print(f"{what}: {done}/{of}", flush=True)
