"""The presets on the kind of recordings that each is for, beside the default chain, through `audiorestorer run`.

    python -m scripts.bench.bench_presets --data DIR --out DIR [--write]

`--data` has `more/speech` (clean speech) and `more/vinyl` (surface noise of records). Ten recordings of 2.5 to 9 s, 16 kHz and more,
become a telephone's (300 to 3400 Hz, 8 kHz) and, at 5 and 10 dB, those of an old record. The presets for speech over music and in
noise are rows of `bench_quality` (the whole chain, DeepFilterNet3 alone). Finished work in `--out` is kept. `--write` puts the
table into docs/lab/quality.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from scipy import signal

from audiorestorer.audio import Audio
from audiorestorer.presets import DEFAULT
from scripts.sections import write_section

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/lab/quality.md"
COUNT, SHORTEST_SEC, LONGEST_SEC, LEAST_RATE = 10, 2.5, 9.0, 16_000
BAND_HZ, TELEPHONE_RATE = (300, 3400), 8000
SNR_DB = (5, 5, 10, 10)
PEAK = 0.95
GROUPS = "evaluate.metrics=[signal, intelligibility, pesq]"
ROWS = (("telephone", "narrow_band"), ("record", "old_record"))
COLUMNS = (("si_sdr_improvement_db", "{:+.1f}"), ("stoi", "{:.3f}"), ("pesq", "{:.2f}"), ("lsd_db", "{:.1f}"))
BEFORE = {"si_sdr_improvement_db": "si_sdr_in_db", "stoi": "stoi_in", "pesq": "pesq_in", "lsd_db": "lsd_in_db"}


def mono(path: Path) -> tuple[Audio, int]:
    """`[T]` and its rate."""
    samples, rate = sf.read(path, always_2d=True)
    return samples.mean(axis=1), rate


def telephone(clean: Audio, rate: int) -> Audio:
    band = signal.sosfiltfilt(signal.butter(6, BAND_HZ, "bandpass", fs=rate, output="sos"), clean)
    back = soxr.resample(soxr.resample(band, rate, TELEPHONE_RATE), TELEPHONE_RATE, rate)
    return np.resize(np.pad(back, (0, max(0, len(clean) - len(back)))), len(clean))


def on_record(clean: Audio, rate: int, surface: tuple[Audio, int], snr_db: float) -> tuple[Audio, Audio]:
    """The recording under a record's surface noise, and its reference at the same level."""
    noise = np.resize(soxr.resample(surface[0], surface[1], rate), len(clean))
    noise = noise * np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    gain = min(1.0, PEAK / float(np.abs(clean + noise).max()))
    return gain * (clean + noise), gain * clean


def make_sets(data: Path, out: Path) -> None:
    paths = sorted((data / "more/speech").rglob("*.flac"))
    infos = [(path, sf.info(path)) for path in paths]
    chosen = [p for p, i in infos if SHORTEST_SEC < i.duration < LONGEST_SEC and i.samplerate >= LEAST_RATE][:COUNT]
    surfaces = [mono(path) for path in sorted((data / "more/vinyl").glob("*.flac"))]
    for number, path in enumerate(chosen):
        clean, rate = mono(path)
        pairs = {
            "telephone": (telephone(clean, rate), clean),
            "record": on_record(clean, rate, surfaces[number % len(surfaces)], SNR_DB[number % len(SNR_DB)]),
        }
        for name, (noisy, reference) in pairs.items():
            for kind, samples in (("in", noisy), ("ref", reference)):
                target = out / "sets" / name / kind / f"{path.stem}.wav"
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    sf.write(target, samples, rate, subtype="FLOAT")


def row(out: Path, name: str, preset: str) -> tuple[dict[str, float], int]:
    """Medians of a preset on a set, and the number of recordings."""
    work = out / f"work-{name}-{preset}"
    sets = out / "sets" / name
    subprocess.run(
        [sys.executable, "-m", "audiorestorer", "run", str(sets / "in"), str(out / f"out-{name}-{preset}"), "--preset", preset,
         "--reference", str(sets / "ref"), "--set", GROUPS, "--set", "snippets.count=1", "--work", str(work)],
        check=True, cwd=ROOT,
    )  # fmt: skip
    metrics = json.loads((work / "artifacts/eval/metrics.json").read_text(encoding="utf-8"))
    return {key: each["median"] for key, each in metrics["summary"].items() if each.get("n")}, metrics["counts"]["ok"]


def table(out: Path) -> str:
    lines = [
        "| recordings | preset | SI-SDRi, dB ↑ | STOI ↑ | PESQ-wb ↑ | LSD, dB ↓ |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, preset in ROWS:
        found = {each: row(out, name, each) for each in (DEFAULT, preset)}
        medians, count = found[preset]
        title = f"{name}, n = {count}"
        before = [medians[BEFORE[key]] for key, _ in COLUMNS]
        lines.append(
            f"| {title} | none: the input | 0 ({before[0]:.1f} dB) | {before[1]:.3f} | {before[2]:.2f} | {before[3]:.1f} |"
        )
        for each, (values, _) in found.items():
            lines.append(
                f"| {title} | {each} | " + " | ".join(shape.format(values[key]) for key, shape in COLUMNS) + " |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="into docs/lab/quality.md")
    args = parser.parse_args()
    make_sets(args.data, args.out.absolute())
    text = table(args.out.absolute())
    print(text)
    if args.write:
        write_section(PAGE, "presets", text)


if __name__ == "__main__":
    main()
