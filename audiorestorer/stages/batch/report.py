"""report: the pages, figures and the summary that a user looks at, from metrics.json and the snippets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiorestorer.checking import content_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json, write_bytes_atomic, write_text_atomic
from audiorestorer.progress import records as records_of
from audiorestorer.report import batch_figures, blind, figures, listening, results, runtime, tables
from audiorestorer.report.summary import summary_markdown

log = logging.getLogger("audiorestorer")

GROUPS = {
    "worst": "Listening: files that gained least",
    "best": "Listening: files that gained most",
    "sample": "Listening: a random sample",
}


def run(
    metrics_json: Path,
    snippets_json: Path,
    config: str | Path,
    models: list[Path],
    out_dir: Path,
    manifests: Path | None = None,
) -> None:
    """Write the pages (`results`, `details`, `runtime`, `blind`, `listening`, `listening-{worst,best,sample}`), figures, `summary.md`.

    `listening.html` holds every snippet; the three others are small enough to be shown inside Snakemake's report.html.

    Args:
        config: the stages' settings, as inline JSON (`{...}`) or the path of a YAML or JSON file.
        models: the records that `fetch-model` wrote: name, kind, licence, digest of the weights.
        manifests: folder of all stages' manifests, beside which the jobs noted their times.

    Raises:
        AudioRestorerError: an input is missing or not what it should be.
    """
    metrics = read_json(metrics_json)
    settings = _settings(str(config))
    records = [read_json(path) for path in models]
    players = _players(read_json(snippets_json), metrics)
    overview = figures.overview(metrics)
    write_bytes_atomic(out_dir / "figures" / "overview.png", overview)
    write_bytes_atomic(out_dir / "figures" / "distributions.png", batch_figures.distributions(metrics))
    write_bytes_atomic(out_dir / "figures" / "worst.png", batch_figures.worst(metrics))
    write_text_atomic(out_dir / "results.html", results.page(metrics, players, overview))
    write_text_atomic(out_dir / "listening.html", listening.page(players, title="Listening: before and after"))
    write_text_atomic(out_dir / "details.html", listening.details_page(players))
    write_text_atomic(out_dir / "blind.html", blind.page(players, title="Blind listening test"))
    write_text_atomic(out_dir / "runtime.html", runtime.runtime_page(records_of(manifests) if manifests else ()))
    for name, title in GROUPS.items():
        group = [player for player in players if player.chosen == name]
        page = listening.page(group, title=title, limit_bytes=listening.REPORT_PAGE_BYTES)
        write_text_atomic(out_dir / f"listening-{name}.html", page)
    write_text_atomic(out_dir / "summary.md", summary_markdown(metrics, settings, records))
    log.info("report: %d files, %d to listen to: %s", len(metrics.get("items", ())), len(players), out_dir)


def _players(snippets: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[listening.Player]:
    """The listening page's players, with the audio and the pictures read in."""
    rows = {str(item["id"]): item for item in metrics.get("items", ())}
    players = []
    for entry in snippets.get("items", ()):
        item = {**rows.get(str(entry["id"]), {})}
        item["input"] = tables.plain(item.get("input") or entry["id"])
        files = {name: _bytes(path) for name, path in entry["files"].items()}
        players.append(listening.player(entry, item, files, _bytes(entry["spectrogram"]), _bytes(entry["detail"])))
    return players


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise AudioRestorerError(
            f"{path}: cannot read the snippet: {error.strerror}; run the stage snippets again"
        ) from error


def _settings(source: str) -> dict[str, Any]:
    settings, where = content_of(source)
    if not isinstance(settings, dict):
        raise AudioRestorerError(f"{where}: not a mapping of settings")
    return settings
