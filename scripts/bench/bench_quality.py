"""Our embedded models, their fusions and the whole chain against what people install today, on pairs of noisy and clean
recordings.

    pip install --no-deps --target PEERS -r requirements-peers.txt
    PYTHONPATH=PEERS python -m scripts.bench.bench_quality --data DIR --dnsmos --write
    python -m scripts.bench.bench_quality --set mine=NOISY_DIR:CLEAN_DIR --clean speech=DIR --model candidate=FILE.safetensors

Sets: `--data` takes `mixtures` (references `mixtures_clean`), `noisy` (`speech`), `more/pairs` (X_noisy, X_clean) and
`more/speech` (clean speech alone) below it; `--set` and `--clean` name others. `--model NAME` adds a model of the registry,
`--model LABEL=FILE` a checkpoint; where LABEL is a name that the configuration uses, the chain takes that file too.

Choices: recordings are made mono. Figures are medians over a set's files. SI-SDR (no removal of the mean), LSD and the
composite are at the reference's rate, PESQ-wb and DNSMOS at 16 kHz, STOI and ESTOI at 10 kHz. Peers' delays are measured and
compensated. RTF is CPU seconds (all threads, measured clip by clip, the networks loaded and warm) over seconds of audio, summed
over a set: other work on the machine does not change it, and on idle cores the clock shows no more. Weights are the bytes of
the files that a row loads. Nothing is downloaded. Finished figures lie in `--out` by content, system and code: a second run
computes what changed. A pair that cannot be used is named and the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from audiorestorer.audio import Audio
from audiorestorer.config import Config, load
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_json
from audiorestorer.intake.pairs import transcripts_of
from audiorestorer.store import key_of
from scripts.bench.quality_figures import Meter, medians
from scripts.bench.quality_peers import peer_systems
from scripts.bench.quality_sets import ROOT, Clip, PairSet, default_sets, parsed
from scripts.bench.quality_systems import ABLATION, Networks, System, ablation_systems, embedded_bytes, our_systems
from scripts.bench.quality_tables import NOT_FOR_CLEAN, report
from scripts.sections import write_section

INPUT = System("input", "input", "input", run=lambda clip: clip.part("input", lambda _: clip.noisy))


@dataclass
class Bench:
    """Systems and meter of a run; `out`: folder of finished figures; `ablation`: sets on which the ablation is measured."""

    systems: Sequence[System]
    meter: Meter
    out: Path
    threads: int
    ablation: Sequence[str] = ()

    def on(self, given: PairSet) -> list[System]:
        """The rows of a set."""
        return [one for one in self.systems if given.name in self.ablation or not one.name.startswith(ABLATION)]

    def of_pair(self, given: PairSet, pair: Any) -> dict[str, Any]:
        """The row of a pair: figures of every system.

        Raises:
            AudioRestorerError: the pair cannot be used.
        """
        with Clip(pair) as clip:
            figures = {
                system.name: self._figures(system, clip, given.alone)
                for system in self.on(given)
                if system.run is not None and not (given.alone and system.mixtures_only)
            }
            return {"name": pair.name, "seconds": clip.seconds, "rate": clip.rate, "systems": figures}

    def _figures(self, system: System, clip: Clip, alone: bool) -> dict[str, Any]:
        key = key_of(
            noisy=clip.noisy_sha256, clean=clip.clean_sha256, alone=alone, system=system.identity,
            figures=self.meter.state(clip.pair.name), threads=self.threads,
        )  # fmt: skip
        path = self.out / "figures" / key[:2] / f"{key}.json"
        if path.is_file():
            done: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return done
        try:
            output, cost = clip.made_by(_checked(system))
        except (AudioRestorerError, ValueError, RuntimeError, ArithmeticError) as error:
            return {"figures": {}, "failed": f"{type(error).__name__}: {error}"}
        values, missing = self.meter(clip, output, alone)
        row = {"figures": values, "missing": missing, "cpu_sec": cost.cpu, "wall_sec": cost.wall}
        write_json(path, row)
        return row


def _checked(system: System) -> Any:
    def run(clip: Clip) -> Audio:
        assert system.run is not None
        out = system.run(clip)
        if out.shape != clip.noisy.shape:
            raise ValueError(f"{out.shape} came out of {clip.noisy.shape}")
        return out

    return run


def measured(bench: Bench, given: PairSet) -> dict[str, Any]:
    """A set's rows and medians; progress goes to stderr."""
    rows, unusable = [], [{"name": name, "reason": reason} for name, reason in given.unusable]
    for number, pair in enumerate(given.pairs, 1):
        start = time.perf_counter()
        try:
            rows.append(bench.of_pair(given, pair))
        except AudioRestorerError as error:
            unusable.append({"name": pair.name, "reason": str(error)})
        say(f"{given.name} {number}/{len(given.pairs)} {pair.name}: {time.perf_counter() - start:.1f} s")
    for problem in unusable:
        say(f"{given.name}: not used: {problem['name']}: {problem['reason']}")
    out = {
        "name": given.name, "alone": given.alone, "pairs": rows, "unusable": unusable,
        "systems": {system.name: _over(system, rows) for system in bench.on(given)},
    }  # fmt: skip
    for name, row in out["systems"].items():
        shown = "  ".join(f"{key} {value:.3g}" for key, value in row["figures"].items() if not key.startswith("n_"))
        say(f"{given.name} {name}: {shown or row['missing']}")
    return out


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _over(system: System, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    mine = [(row["seconds"], row["systems"][system.name]) for row in rows if system.name in row["systems"]]
    done = [(seconds, figures) for seconds, figures in mine if "failed" not in figures]
    failed = [figures["failed"] for _, figures in mine if "failed" in figures]
    reason = system.missing or (failed[0] if failed else NOT_FOR_CLEAN if rows else "no pair could be used")
    out: dict[str, Any] = {
        "n": len(done),
        "failed": len(failed),
        "figures": medians([f["figures"] for _, f in done]),
    }
    if done:
        audio_sec = sum(seconds for seconds, _ in done)
        out |= {f"rtf_{kind}": sum(f[f"{kind}_sec"] for _, f in done) / audio_sec for kind in ("cpu", "wall")}
    return {**out, "missing": "" if done else reason}


def chosen_sets(args: argparse.Namespace) -> list[PairSet]:
    """Raises AudioRestorerError: a folder is missing, a wrong `--set`, or none at all."""
    sets = default_sets(args.data) if args.data else []
    sets += [parsed(text) for text in args.set] + [parsed(text, alone=True) for text in args.clean]
    sets = [one for one in sets if not args.only or one.name in args.only]
    if not sets:
        raise AudioRestorerError("no set: --data DIR, --set NAME=NOISY_DIR:CLEAN_DIR or --clean NAME=DIR")
    if len({one.name for one in sets}) < len(sets):
        raise AudioRestorerError(f"two sets have one name: {', '.join(one.name for one in sets)}")
    if args.limit:
        sets = [PairSet(one.name, one.pairs[: args.limit], one.alone, one.unusable) for one in sets]
    return sets


def chosen_systems(args: argparse.Namespace, config: Config, networks: Networks) -> list[System]:
    extra = [text.partition("=")[0] for text in args.model]
    systems = [INPUT, *peer_systems(networks), *our_systems(config, networks, extra)]
    systems += ablation_systems(config, networks) if args.ablation else []
    return [one for one in systems if not args.system or any(fnmatch(one.name, pattern) for pattern in args.system)]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Raises AudioRestorerError: what the user gave cannot be used."""
    sets = chosen_sets(args)
    config = load(Config, str(args.config))
    replaced = {name: Path(path) for name, results, path in (text.partition("=") for text in args.model) if results}
    networks = Networks(config, replaced, args.models, args.out, args.threads)
    texts = None
    if args.transcripts:
        keys = [pair.name for given in sets for pair in given.pairs]
        rows = transcripts_of(args.transcripts, keys).of
        texts = {name: row.get("transcript", "") for name, row in rows.items()}
    meter = Meter(args.dnsmos, texts, args.threads)
    bench = Bench(chosen_systems(args, config, networks), meter, args.out, args.threads, args.ablation)
    results = [measured(bench, given) for given in sets]
    return {
        "threads": args.threads,
        "systems": [
            {"name": one.name, "kind": one.kind, "weights_bytes": one.weights, "missing": one.missing}
            for one in bench.systems
        ],
        "delays_samples": delays(bench.systems, {row["rate"] for one in results for row in one["pairs"]}),
        "embedded_bytes": embedded_bytes(networks),
        "absent": bench.meter.absent,
        "sets": results,
    }


def delays(systems: Sequence[System], rates: set[int]) -> dict[str, dict[str, int]]:
    """Samples of delay that were taken out, by peer and rate; they are measured again where all figures lay ready."""
    late = {one.name: one.delay for one in systems if one.delay is not None}
    return {name: {str(rate): delay(rate) for rate in sorted(rates)} for name, delay in late.items()}


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--data", type=Path, help="folder with the default sets")
    out.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=NOISY:CLEAN",
        help="a set of recordings and references; may be repeated",
    )
    out.add_argument(
        "--clean", action="append", default=[], metavar="NAME=DIR", help="a set of clean speech; may be repeated"
    )
    out.add_argument("--only", action="append", metavar="SET", help="measure only this set; may be repeated")
    out.add_argument(
        "--system", action="append", metavar="GLOB", help="measure only the rows that match; may be repeated"
    )
    out.add_argument("--limit", type=int, help="largest number of pairs per set")
    out.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME or LABEL=FILE",
        help="a further model, or a checkpoint under a label; may be repeated",
    )
    out.add_argument(
        "--ablation",
        action="append",
        default=[],
        metavar="SET",
        help="measure the chain with one thing changed on this set too; may be repeated",
    )
    out.add_argument("--dnsmos", action="store_true", help="measure DNSMOS too")
    out.add_argument(
        "--transcripts", type=Path, help="TSV with path (below a set's folder) and transcript, for the WER"
    )
    out.add_argument("--config", type=Path, default=ROOT / "config/config.yaml", help="configuration of the chain")
    out.add_argument("--models", type=Path, default=ROOT / "artifacts/models", help="folder of fetched models")
    out.add_argument("--out", type=Path, default=ROOT / "artifacts/quality", help="folder of finished figures")
    out.add_argument("--threads", type=int, default=1, help="threads of each network")
    out.add_argument("--json", type=Path, help="file for the figures")
    out.add_argument("--write", action="store_true", help="put the tables into docs/lab/quality.md")
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    try:
        result = run(args)
    except AudioRestorerError as error:
        sys.exit(str(error))
    if args.json:
        write_json(args.json, result)
    text = report(result)
    print(text)
    if args.write:
        write_section(ROOT / "docs/lab/quality.md", "quality", text)


if __name__ == "__main__":
    main()
