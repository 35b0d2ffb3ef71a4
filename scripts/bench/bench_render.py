"""The model authors' own command lines against ours, on the same weights and clips, in turns: seconds, ratio, difference, peak memory.

    python -m scripts.bench.bench_render [--quick] [--clips N] [--seconds S] [--only NAME] [--many N] [--json FILE]

The networks have the released ones' sizes and random weights (time does not depend on the values), in demucs' local format. Peers:
`demucs -n htdemucs_ft --two-stems vocals`, `demucs -n mdx_extra_q --two-stems vocals`, `denoiser.enhance`, all with `shifts 0` and
their other defaults, and pyloudnorm for the loudness; ours: the stages' commands, and for the chain `snakemake`. The denoiser's file
functions are gone from torchaudio 2.9 and later: for the peer they are soundfile's. Prints Markdown; docs/lab/performance.md has it.
`--quick`: four clips, under ten minutes on two cores. `--many N`: our chain on N clips as well, for the share of its time that is
start-up, Snakemake and Python, which few clips exaggerate.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from audiorestorer import audio
from audiorestorer.manifest import read_manifest
from audiorestorer.metrics.signal import Sums, si_sdr
from audiorestorer.separators.runtime.compiled import has_bfloat16
from scripts.bench.bench_common import (
    RATE,
    ROOT,
    flops,
    gemm_peak,
    machine,
    network_of,
    rows,
    stage,
    timed,
    write_clips,
    write_models,
)

DNS_CLIPS = 40  # at least: the network is so fast that with few clips start-up is what is measured
ITEMS_A_SHARD = 64
TARGETS = {
    "htdemucs_ft_float32": 5.5, "htdemucs_ft_bfloat16": 10, "mdx_extra_q_float32": 1.4, "mdx_extra_q_bfloat16": 2, "dns64": 2,
    "dns64_bfloat16": 2, "chain": 5,
}  # fmt: skip
# what the denoiser takes from torchaudio, with soundfile; its checkpoint names its class, so it must be unpickled
PEER_FILES = """
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
torch.load = functools.partial(torch.load, weights_only=False)
from denoiser import enhance
"""
PEER_DENOISER = f"""{PEER_FILES}
chosen = enhance.parser.parse_args()
enhance.enhance(chosen, local_out_dir=chosen.out_dir)
"""
# the rest of a chain by hand: both vocals' mean to 16 kHz mono, the denoiser, -23 LUFS
PEER_TAIL = f"""{PEER_FILES}
import sys, os, pathlib, numpy, soxr, pyloudnorm
first, second, work, model, threads = sys.argv[1:]
work = pathlib.Path(work); (work / "in").mkdir(parents=True); (work / "out").mkdir()
for path in sorted(pathlib.Path(first).glob("*/vocals.wav")):
    (a, rate), (b, _) = soundfile.read(path), soundfile.read(pathlib.Path(second) / path.parent.name / "vocals.wav")
    mono = soxr.resample((a + b).mean(axis=1) / 2, rate, 16000)
    soundfile.write(work / "in" / f"{{path.parent.name}}.wav", mono, 16000, subtype="FLOAT")
chosen = enhance.parser.parse_args(["--model_path", model, "--noisy_dir", str(work / "in"), "--out_dir", str(work / "out"),
                                    "--device", "cpu", "--num_workers", threads])
enhance.enhance(chosen, local_out_dir=chosen.out_dir)
for path in sorted((work / "out").glob("*_enhanced.wav")):
    wave, rate = soundfile.read(path)
    gain = -23 - pyloudnorm.Meter(rate).integrated_loudness(wave)
    soundfile.write(path.with_suffix(".flac"), wave * 10 ** (gain / 20) if numpy.isfinite(gain) else wave, rate)
"""


def precisions() -> list[str]:
    return ["float32", *(["bfloat16"] if has_bfloat16() else [])]


def difference_db(outputs: list[Path], wanted: list[Path]) -> float:
    """Lowest SI-SDR (dB) of ours against the peer's; a mono clip comes back from demucs as stereo."""
    values = []
    for ours_, theirs in zip(outputs, wanted, strict=True):
        (a, _), (b, _) = audio.read(ours_), audio.read(theirs)
        b = b if b.shape[0] == a.shape[0] else b.mean(axis=0, keepdims=True)
        sums, length = Sums(), min(a.shape[1], b.shape[1])
        sums.add(a[:, :length], b[:, :length])
        values.append(si_sdr(sums))
    return min(values)


def ours(
    name: str, record: Path, manifest: Path, settings: dict[str, Any], tag: str, args: Any
) -> tuple[list[str], Path]:
    """A stage's command on a manifest, and the manifest that it writes. `tag`: of its store, so that nothing is there already."""
    out = manifest.with_name(f"{record.stem}-{settings['precision']}-{tag}.jsonl")
    store = record.parent / "stores" / tag
    command = stage(
        name, manifest, out, "--config", json.dumps(settings), "--model", record, "--store", store, "--device", "cpu",
        "--threads", args.threads,
    )  # fmt: skip
    return command, out


def compare(
    key: str, name: str, record: Path, clips: list[Path], rate: int, settings: dict[str, Any], peer: tuple[float, float],
    theirs: list[Path], work: float, args: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """Ours in each precision against the peer's seconds and memory. `work`: FLOP a clip."""
    manifest = rows(record.parent / f"{key}.rows.jsonl", clips, args.seconds, rate)
    one = rows(record.parent / f"{key}.one.jsonl", clips[:1], args.seconds, rate)
    results = []
    for precision in precisions():
        own = {**settings, "precision": precision}
        conversion, _ = timed(ours(name, record, one, own, "first", args)[0])
        command, done = ours(name, record, manifest, own, "timed", args)
        seconds, memory = timed(command)
        outputs = [Path(row.path or "") for row in read_manifest(done)]
        rate_of_work = work * len(clips) / seconds
        label = f"{key}_{precision}" if key != "dns64" or precision != "float32" else key
        results.append(
            {
                "key": label, "clips": len(clips), "peer_sec": peer[0], "ours_sec": seconds, "ratio": peer[0] / seconds,
                "peer_mb": peer[1], "ours_mb": memory, "difference_db": difference_db(outputs, theirs), "first_run_sec": conversion,
                "gflops": rate_of_work / 1e9, "peak_share": rate_of_work / args.peak[precision],
            }
        )  # fmt: skip
    return results


def bench_separator(
    folder: Path, name: str, record: Path, clips: list[Path], args: Any
) -> tuple[list[dict[str, Any]], float, Path]:
    """Results, the peer's seconds and the folder of its files."""
    out = folder / f"peer-{name}"
    peer = timed(
        [sys.executable, "-m", "demucs", "-n", name, "--repo", str(folder / "repo"), "--two-stems", "vocals", "--shifts", "0",
         "--float32", "-d", "cpu", "-o", str(out), *map(str, clips)]
    )  # fmt: skip
    theirs = [out / name / clip.stem / "vocals.wav" for clip in clips]
    network = network_of(name)
    if name == "htdemucs_ft":  # one member; windows of 7.8 s, a stride of three quarters of it
        window = int(network.segment * RATE)
        passes = max(1, -(-int(args.seconds * RATE) // int(0.75 * window)))
        work = flops(network, 2, window) * passes
    else:
        work = 4 * flops(network, 2, int(args.seconds * RATE))
    settings = {"name": name, "model": name, "backend": "openvino"}
    return compare(name, "separate", record, clips, RATE, settings, peer, theirs, work, args), peer[0], out / name


def bench_denoiser(folder: Path, record: Path, args: Any) -> list[dict[str, Any]]:
    clips = write_clips(folder / "clips16", max(DNS_CLIPS, args.clips), args.seconds, 16_000)
    out, script = folder / "peer-dns64", folder / "peer_denoiser.py"
    script.write_text(PEER_DENOISER)
    peer = timed(
        [sys.executable, str(script), "--model_path", str(folder / "dns64.th"), "--noisy_dir", str(clips[0].parent), "--out_dir",
         str(out), "--device", "cpu", "--num_workers", str(args.threads)]
    )  # fmt: skip
    theirs = [out / f"{clip.stem}_enhanced.wav" for clip in clips]
    work = flops(network_of("dns64"), 1, int(args.seconds * 16_000))
    settings = {"model": "dns64", "wet": 1.0, "backend": "openvino"}
    return compare("dns64", "denoise", record, clips, 16_000, settings, peer, theirs, work, args)


def chain_command(folder: Path, clips: Path, artifacts: Path, count: int, args: Any) -> list[str]:
    """Our chain, up to the published files, on the models of `folder`."""
    config = artifacts.with_suffix(".yaml")
    config.write_text(
        yaml.safe_dump(
            {
                "input": str(clips), "output": str(artifacts / "output"), "artifacts": str(artifacts), "device": "cpu",
                "registry": str(folder / "models.yaml"), "shards": max(1, -(-count // ITEMS_A_SHARD)),
                "separators": [{"name": name, "model": name} for name in ("htdemucs_ft", "mdx_extra_q")],
                "fuse": {"method": "mean"}, "denoise": {"enabled": True, "model": "dns64"},
                "postmask": {"enabled": True, "floor": 1.0},
            }
        )
    )  # fmt: skip
    return [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores",
        str(args.threads), "--configfile", str(config), "--until", "publish",
    ]  # fmt: skip


def work_seconds(artifacts: Path) -> dict[str, float]:
    """Seconds that each stage spent on its items, start-up and loading left out, from the jobs' logs."""
    found: dict[str, float] = {}
    for path in sorted((artifacts / "logs").rglob("*.log")):
        for name, total, before in re.findall(
            r"^(\S+): \d+/\d+ items \([^)]*\), ([\d.]+) s, ([\d.]+) s of it before the first.*second$",
            path.read_text(errors="replace"),
            re.M,
        ):
            found[name] = found.get(name, 0.0) + float(total) - float(before)
    return found


def bench_chain(folder: Path, clips: list[Path], peers: dict[str, tuple[float, Path]], args: Any) -> dict[str, Any]:
    """The whole chain: the peers' three commands and their loudness, against one `snakemake`."""
    script = folder / "peer_tail.py"
    script.write_text(PEER_TAIL)
    tail, memory = timed(
        [sys.executable, str(script), str(peers["htdemucs_ft"][1]), str(peers["mdx_extra_q"][1]), str(folder / "peer-tail"),
         str(folder / "dns64.th"), str(args.threads)]
    )  # fmt: skip
    peer = tail + sum(seconds for seconds, _ in peers.values())
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    (artifacts / "compiled").symlink_to(
        folder / "stores" / "compiled"
    )  # converted above; `first run` says what that costs
    seconds, ours_mb = timed(chain_command(folder, clips[0].parent, artifacts, len(clips), args))
    work = work_seconds(artifacts)
    return {
        "key": "chain", "clips": len(clips), "peer_sec": peer, "ours_sec": seconds, "ratio": peer / seconds, "peer_mb": memory,
        "ours_mb": ours_mb, "difference_db": None, "first_run_sec": None, "gflops": None, "peak_share": None,
        "work_sec": work, "outside_share": 1 - sum(work.values()) / seconds,
    }  # fmt: skip


def ours_on_many(folder: Path, count: int, args: Any) -> dict[str, Any]:
    """Our chain alone on many clips; the networks are converted already."""
    artifacts = folder / "artifacts-many"
    (artifacts / "models").mkdir(parents=True)
    (artifacts / "compiled").symlink_to(folder / "stores" / "compiled")
    clips = write_clips(folder / "many", count, args.seconds, RATE)
    seconds, memory = timed(chain_command(folder, clips[0].parent, artifacts, count, args))
    work = work_seconds(artifacts)
    share = 1 - sum(work.values()) / seconds
    return {"clips": count, "ours_sec": seconds, "ours_mb": memory, "work_sec": work, "outside_share": share}


def table(results: list[dict[str, Any]]) -> str:
    head = (
        "| what | clips | peer, s | ours, s | ratio | target | peer, MB | ours, MB | difference, dB | GFLOP/s | of GEMM peak |"
        " first run, s |\n| --- |" + " ---: |" * 11
    )
    lines = []
    for row in results:
        difference = "" if row["difference_db"] is None else f"{row['difference_db']:.0f}"
        first = "" if row["first_run_sec"] is None else f" {row['first_run_sec']:.0f}"
        work = " | |" if row["gflops"] is None else f" {row['gflops']:.0f} | {row['peak_share']:.0%} |"
        lines.append(
            f"| {row['key']} | {row['clips']} | {row['peer_sec']:.1f} | {row['ours_sec']:.1f} | {row['ratio']:.1f} |"
            f" {TARGETS[row['key']]} | {row['peer_mb']:.0f} | {row['ours_mb']:.0f} | {difference} |{work}{first} |"
        )
    return "\n".join([head, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="measure four clips")
    parser.add_argument("--clips", type=int, default=12, help="number of clips")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of each program")
    parser.add_argument("--only", choices=("htdemucs_ft", "mdx_extra_q", "dns64"), help="measure one model")
    parser.add_argument("--many", type=int, default=0, help="run our chain on this many clips as well")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    args.clips = 4 if args.quick else args.clips
    args.peak = {precision: gemm_peak(precision, args.threads) for precision in precisions()}
    results: list[dict[str, Any]] = []
    peers: dict[str, tuple[float, Path]] = {}
    many: dict[str, Any] | None = None
    with tempfile.TemporaryDirectory(prefix="bench-render-") as name:
        folder = Path(name)
        records = write_models(folder)
        clips = write_clips(folder / "clips", args.clips, args.seconds, RATE)
        for model in [model for model in records if args.only in (None, model)]:
            if model == "dns64":
                results += bench_denoiser(folder, records[model], args)
                continue
            part, *peers[model] = bench_separator(folder, model, records[model], clips, args)  # type: ignore[assignment]
            results += part
        if args.only is None and "dns64" in records:
            results.append(bench_chain(folder, clips, peers, args))
        if args.many:
            many = ours_on_many(folder, args.many, args)
    peak = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {precision}" for precision, value in args.peak.items())
    print(
        f"{machine()}; {args.threads} threads; GEMM peak {peak}; clips of {args.seconds:g} s, mono\n\n{table(results)}"
    )
    for row in [row for row in (results[-1] if results else None, many) if row and "work_sec" in row]:
        work = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in row["work_sec"].items())
        print(
            f"\nchain, {row['clips']} clips, {row['ours_sec']:.1f} s: {work}; outside of the stages' loops: {row['outside_share']:.0%}"
        )
    if args.json:
        ratios = {row["key"]: round(row["ratio"], 3) for row in results}
        figures = {"ratios": ratios, "results": results, "many": many, "machine": machine(), "gemm_peak": args.peak}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
