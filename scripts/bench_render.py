"""The model authors' own command lines against ours, on the same weights and clips, in turns: seconds, ratio, difference, peak memory.

    python scripts/bench_render.py [--quick] [--clips N] [--seconds S] [--json FILE]

The networks have the released ones' sizes and random weights (time does not depend on the values), in demucs' local format. Peers:
`demucs -n htdemucs_ft --two-stems vocals`, `demucs -n mdx_extra_q --two-stems vocals`, `denoiser.enhance`, all with `shifts 0` and
their other defaults; ours: the stages' commands. The denoiser's file functions are gone from torchaudio 2.9 and later: for the peer
they are soundfile's. Prints Markdown tables; docs/performance.md has them. `--quick`: six clips, under ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from audiorestorer import audio
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.metrics.signal import Sums, si_sdr
from audiorestorer.separators.compiled import has_bfloat16
from audiorestorer.store import sha256_file

ROOT = Path(__file__).resolve().parent.parent
RATE = 44_100
SOURCES = ["drums", "bass", "other", "vocals"]
ONE_HOT = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
PEER_DENOISER = """
import collections, functools, soundfile, torch, torchaudio
Info = collections.namedtuple("Info", "num_frames sample_rate num_channels")
def info(path):
    found = soundfile.info(str(path)); return Info(found.frames, found.samplerate, found.channels)
def load(path, frame_offset=0, num_frames=-1, **_):
    data, rate = soundfile.read(str(path), start=frame_offset, frames=num_frames, dtype="float32", always_2d=True)
    return torch.from_numpy(data.T.copy()), rate
def save(path, wave, rate, **_): soundfile.write(str(path), wave.numpy().T, rate, subtype="FLOAT")
torchaudio.info, torchaudio.load, torchaudio.save = info, load, save
torchaudio.get_audio_backend = lambda: "soundfile"
torch.load = functools.partial(torch.load, weights_only=False)  # the peer's checkpoint names its class
from denoiser import enhance
chosen = enhance.parser.parse_args()
enhance.enhance(chosen, local_out_dir=chosen.out_dir)
"""


def package(model: Any) -> dict[str, Any]:
    args, kwargs = model._init_args_kwargs
    return {"klass": type(model), "args": args, "kwargs": kwargs, "state": model.state_dict()}


def write_models(folder: Path) -> dict[str, Path]:
    """Full-size bags and a DNS64 with random weights, and for each the record that our stages read."""
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    repo = folder / "repo"
    repo.mkdir()
    bags: dict[str, dict[str, Any]] = {
        "htdemucs_ft": {"models": [f"{0xA0 + k:08x}" for k in range(4)], "weights": ONE_HOT},
        "mdx_extra_q": {"models": [f"{0xB0 + k:08x}" for k in range(4)], "segment": 44},
    }
    for name, bag in bags.items():
        for signature in bag["models"]:
            if name == "htdemucs_ft":
                network: Any = HTDemucs(
                    SOURCES, segment=Fraction(39, 5), t_layers=5, bottom_channels=512, samplerate=RATE
                )
            else:
                network = HDemucs(SOURCES, samplerate=RATE, segment=44)
            torch.save(package(network), repo / f"{signature}.th")
        (repo / f"{name}.yaml").write_text(yaml.safe_dump(bag))
    records = {name: [repo / f"{name}.yaml", *(repo / f"{s}.th" for s in bag["models"])] for name, bag in bags.items()}
    try:
        from denoiser.demucs import Demucs
        from denoiser.utils import serialize_model

        path = folder / "dns64.th"
        torch.save(serialize_model(Demucs(hidden=64, sample_rate=16_000)), path)
        records["dns64"] = [path]
    except ImportError:
        print("the denoiser package is not installed (make setup-extras): dns64 is not measured", file=sys.stderr)
    return {name: _record(folder, name, files) for name, files in records.items()}


def _record(folder: Path, name: str, files: list[Path]) -> Path:
    record = {
        "name": name, "kind": "dns64" if name == "dns64" else "demucs", "source": "bench", "digest": name,
        "files": [{"path": str(path), "sha256": sha256_file(path)} for path in files], "trust": False, "licence": "none",
        "sample_rate": 16_000 if name == "dns64" else RATE,
    }  # fmt: skip
    out = folder / f"{name}.json"
    out.write_text(json.dumps(record))
    return out


def write_clips(folder: Path, count: int, seconds: float, rate: int, channels: int) -> list[Path]:
    """Gliding harmonic tones in syllables over noise; files `[C, T]` of equal length, all different."""
    folder.mkdir()
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        t = np.arange(int(seconds * rate)) / rate
        phase = 2 * np.pi * np.cumsum(120 + 40 * rng.random() + 30 * np.sin(2 * np.pi * 0.7 * t)) / rate
        voice = sum(np.sin(k * phase) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 3 * t) > -0.3)
        wave = 0.1 * voice + 0.02 * rng.standard_normal((channels, len(t)))
        paths.append(folder / f"clip{number:04d}.wav")
        sf.write(paths[-1], wave.T.astype(np.float32), rate, subtype="FLOAT")
    return paths


def timed(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory (MB, of the largest process) of a command."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(
        ["/usr/bin/env", "time", "-f", "%M", *command], capture_output=True, text=True, env=environment
    )
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} ...: exit {done.returncode}\n{done.stderr[-3000:]}")
    return wall, float(done.stderr.strip().splitlines()[-1]) / 1024


def manifest(path: Path, clips: list[Path], seconds: float, rate: int, channels: int) -> Path:
    rows = []
    for clip in clips:
        digest = sha256_file(clip)
        rows.append(
            Item(
                id=clip.stem, noisy=str(clip), path=str(clip), sha256=digest, noisy_sha256=digest, sr=rate, channels=channels,
                duration=seconds, stems={"vocals": str(clip)},
            )
        )  # fmt: skip
    write_manifest(path, rows)
    return path


def ours(
    folder: Path, stage: str, record: Path, rows: Path, settings: dict[str, Any], threads: int
) -> tuple[list[str], Path]:
    out = folder / f"{stage}-{record.stem}-{settings['precision']}.jsonl"
    command = [
        sys.executable, "-m", "audiorestorer", stage, str(rows), str(out), "--config", json.dumps(settings), "--model", str(record),
        "--store", str(folder / "store"), "--device", "cpu", "--threads", str(threads),
    ]  # fmt: skip
    return command, out


def difference_db(made: list[Path], wanted: list[Path]) -> float:
    """Lowest SI-SDR (dB) of ours against the peer's."""
    values = []
    for ours_, theirs in zip(made, wanted, strict=True):
        (a, _), (b, _) = audio.read(ours_), audio.read(theirs)
        sums, length = Sums(), min(a.shape[1], b.shape[1])
        sums.add(a[:, :length], b[:, :length])
        values.append(si_sdr(sums))
    return min(values)


def bench_separator(
    folder: Path, name: str, record: Path, clips: list[Path], chosen: argparse.Namespace
) -> list[dict[str, Any]]:
    rows = manifest(folder / f"{name}.rows.jsonl", clips, chosen.seconds, RATE, 2)
    out = folder / f"peer-{name}"
    peer = [
        sys.executable, "-m", "demucs", "-n", name, "--repo", str(folder / "repo"), "--two-stems", "vocals", "--shifts", "0",
        "--float32", "-d", "cpu", "-o", str(out), *map(str, clips),
    ]  # fmt: skip
    peer_sec, peer_mb = timed(peer)
    theirs = [out / name / clip.stem / "vocals.wav" for clip in clips]
    results = []
    for precision in ("float32", *(["bfloat16"] if has_bfloat16() else [])):
        settings = {"name": f"{name}_{precision}", "model": name, "backend": "openvino", "precision": precision}
        warm, _ = ours(
            folder,
            "separate",
            record,
            manifest(folder / "one.jsonl", clips[:1], chosen.seconds, RATE, 2),
            settings,
            chosen.threads,
        )
        conversion, _ = timed(warm)  # once a model and length: the result is kept on disk
        settings["name"] += "_timed"
        command, done = ours(folder, "separate", record, rows, settings, chosen.threads)
        seconds, memory = timed(command)
        made = [Path(row.path or "") for row in read_manifest(done)]
        results.append(
            {
                "key": f"{name}_{precision}", "peer_sec": peer_sec, "ours_sec": seconds, "ratio": peer_sec / seconds,
                "peer_mb": peer_mb, "ours_mb": memory, "difference_db": difference_db(made, theirs), "first_run_sec": conversion,
            }
        )  # fmt: skip
    return results


def bench_denoiser(folder: Path, record: Path, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    clips = write_clips(folder / "clips16", chosen.clips, chosen.seconds, 16_000, 1)
    out = folder / "peer-dns64"
    script = folder / "peer_denoiser.py"
    script.write_text(PEER_DENOISER)
    peer = [
        sys.executable, str(script), "--model_path", str(folder / "dns64.th"), "--noisy_dir", str(clips[0].parent), "--out_dir",
        str(out), "--device", "cpu", "--num_workers", str(chosen.threads),
    ]  # fmt: skip
    peer_sec, peer_mb = timed(peer)
    rows = manifest(folder / "dns64.rows.jsonl", clips, chosen.seconds, 16_000, 1)
    settings = {"model": "dns64", "wet": 1.0, "precision": "float32"}
    command, done = ours(folder, "denoise", record, rows, settings, chosen.threads)
    seconds, memory = timed(command)
    made = [Path(row.path or "") for row in read_manifest(done)]
    theirs = [out / f"{clip.stem}_enhanced.wav" for clip in clips]
    return [
        {
            "key": "dns64", "peer_sec": peer_sec, "ours_sec": seconds, "ratio": peer_sec / seconds, "peer_mb": peer_mb,
            "ours_mb": memory, "difference_db": difference_db(made, theirs), "first_run_sec": seconds,
        }
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="six clips")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=("htdemucs_ft", "mdx_extra_q", "dns64"), help="one model")
    parser.add_argument("--json", type=Path, help="write the figures here")
    chosen = parser.parse_args()
    chosen.clips = 6 if chosen.quick else chosen.clips
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-render-") as name:
        folder = Path(name)
        records = write_models(folder)
        clips = write_clips(folder / "clips", chosen.clips, chosen.seconds, RATE, 2)
        for model, record in records.items():
            if chosen.only in (None, model):
                part = (
                    bench_denoiser(folder, record, chosen)
                    if model == "dns64"
                    else bench_separator(folder, model, record, clips, chosen)
                )
                results += part
    print(f"{chosen.clips} clips of {chosen.seconds:g} s, {chosen.threads} threads, {os.cpu_count()} cores\n")
    print(
        "| what | peer, s | ours, s | ratio | peer, x real time | ours, x real time | peer, MB | ours, MB | difference, dB |"
        " first run, s |"
    )
    print("| --- |" + " ---: |" * 9)
    audio_sec = chosen.clips * chosen.seconds
    for row in results:
        print(
            f"| {row['key']} | {row['peer_sec']:.1f} | {row['ours_sec']:.1f} | {row['ratio']:.1f} |"
            f" {audio_sec / row['peer_sec']:.2f} | {audio_sec / row['ours_sec']:.2f} | {row['peer_mb']:.0f} |"
            f" {row['ours_mb']:.0f} | {row['difference_db']:.0f} |"
            f" {row['first_run_sec']:.1f} |"
        )
    if chosen.json:
        figures = {"ratios": {row["key"]: round(row["ratio"], 3) for row in results}, "results": results}
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
