"""Write models/pilot/*.md from what is measured: the checkpoint's own metadata, evaluate-model's JSON and folders of pairs.

    python -m scripts.release.write_model_cards --figures artifacts/trained [--real DIR]

DIR: `mixtures` with `mixtures_clean`, and `noisy` with `speech` (real recordings, never trained on).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.config import Config
from audiorestorer.metrics.signal import Sums, si_sdr
from audiorestorer.models.mask_unet import MaskUNetConfig, load_checkpoint
from scripts.bench.quality_sets import ROOT, Clip, Pair, PairSet, two_folders
from scripts.bench.quality_systems import Networks, System, model_system

PURPOSE = {
    "pilot_sep_a": "Speech out of music and noise; fine in frequency.",
    "pilot_sep_b": "Speech out of music and noise; finer in time, more noise in its training.",
    "pilot_denoiser": "Steady noise, hiss, hum, crackle, babble and the residues of music that a separator leaves.",
}
CARD = """# {name}

{purpose}
One of the small models that let the main job run on a fresh machine with no download; not a rival of the full models.

- Architecture: {shape} (`audiorestorer/models/mask_unet.py`), {params:,} parameters, {storage} weights;
  {rate} Hz, n_fft {n_fft}, hop {hop}; a real mask in [{floor:g}, {limit:g}], the mixture's phase; level-invariant.
- sha256: `{sha256}`
- Training: {steps} steps of {batch} examples of {seconds} s, seed {seed}, on two shared CPU cores;
  `python -m audiorestorer train --config config/experiments/{name}.yaml --data artifacts/training_audio --out MODEL --work DIR`
  (or `snakemake train_pilot`).
{began}{data}

## Measured

Median SI-SDR, dB. Held out: voices (flite awb, festival cmu_us_slt_arctic_hts, espeak-ng languages and variants) that the
training never used, and pieces of music that it never used (of genres and instruments that it did).
flite slt (trained) and festival slt-hts (held out) were built from one person's voice.
No checkpoint was chosen by these figures. Up to 40 of the test mixtures were looked at while the loss and the network's shape were
changed, and earlier versions of the separators were replaced because of their figures (convolutional ones of 5.3 dB at 0 dB and less;
recurrent ones; the bands won a race of ten minutes): read them as those of a development set.

| test | in | out | improvement |
| --- | --- | --- | --- |
{rows}

- Pure speech in, SI-SDR out: {clean} dB (held out), {pilot_clean} dB (data/pilot).
- No speech in: {no_speech} dB quieter.

## Limits

{limits}
"""
SYNTHETIC = """\
- Data: {speech} minutes of synthetic speech (espeak-ng in many languages and variants; flite rms, slt, kal16; festival kal, ked
  and nine voices of Italian, Czech, Finnish, Russian and Catalan: `RECORDED` in scripts/audio/synth_speech.py)
  and {music} minutes of music composed by rules and rendered with the FluidR3 GM soundfont;
  `python -m scripts.audio.make_training_audio --out artifacts/training_audio --minutes-speech 180 --minutes-music 200 --seed 2`.
  No recording of a person was used as such (flite's and festival's voices were built by their authors from recordings).
- Licences: the weights are under this repository's (MIT). FluidR3 GM: MIT. espeak-ng: GPL-3 (the program; not its output).
  flite, festival and its kal and ked voices: BSD-like; the other festival voices: GPL, LGPL or BSD-like (not their output)."""
RECORDED = """\
- Data: {speech} minutes of speech: synthetic (espeak-ng, flite, festival, RHVoice, Pico: `RECORDED` in scripts/audio/synth_speech.py)
  and {people} minutes of recordings of people (announcements of Asterisk, dialogues of the Dutch Fish Fillets; Debian packages,
  `PROMPTS` in scripts/audio/free_recordings.py);
  {music} minutes of music: composed by rules and rendered with the FluidR3 GM soundfont, and {tracks} minutes of recordings
  (music of free games, music on hold; Debian packages);
  noise by formulas (`datasets/noise/noises.py`: babble of the same voices, speech-shaped, coloured, impacts, engines, wind, hum,
  crackle) and {noise} minutes of recorded sounds of things and animals (games and Tux Paint; Debian packages);
  `python -m scripts.audio.free_recordings --out DIR`, then `python -m scripts.audio.make_training_audio --out artifacts/training_audio
  --minutes-speech 200 --minutes-music 120 --seed 5 --recordings DIR --minutes-prompts 240 --minutes-tracks 220 --minutes-sounds 30`.
- Licences: the weights are under this repository's (MIT). FluidR3 GM: MIT. The recordings: CC-BY-SA-3.0 and GPL-2.0 (speech),
  GPL-2.0, CC-BY-SA and CC-BY (music and sounds), see docs/licences.md; the programs' licences do not cover their output."""
# name in the card, kind of the index, part of the recordings' file names (make_training_audio.py)
MINUTES = (
    ("speech", "speech", ""), ("people", "speech", "_r"), ("music", "music", ""), ("tracks", "music", "_r"), ("noise", "noise", ""),
)  # fmt: skip
BEGAN = {
    "pilot_sep_a": """\
  Two trainings came before: `pilot_sep_a_begin.yaml` (4,900 steps from random weights, on 403 minutes of speech and 269 of music: the
  same without Fish Fillets, the games Widelands and Unknown Horizons, and the sounds), then `pilot_sep_a_middle.yaml` (1,400 steps, on
  577 minutes of speech, 121 of them Tux Paint's words and 41 the Czech Fish Fillets, which hold noise and are
  left out since). `snakemake train_pilot` gives all three what `make_training_audio.py` makes now.
"""
}
DATA = {"pilot_sep_a": RECORDED, "pilot_sep_b": RECORDED, "pilot_denoiser": SYNTHETIC}
LIMITS = {
    "separate": """Choirs, solo instruments that glide like a voice and singing are taken for speech, in part.
Music in the speech's own bins stays: one real mask cannot do better than its oracle (the ideal ratio mask: about 11 dB of improvement
at 0 dB in this test).
Real voices fare worse than synthetic ones; distant, reverberant or noisy recordings worst (the real set's figures are above).
Above 11.025 kHz the network sees nothing; the pipeline extends its gain
(`separators/mask_network.py`).""",
    "denoise": """Loud music is not its task. Sudden sounds (doors, dogs) were not in its training.
Babble of other voices is only reduced in part.""",
}


def shape(config: MaskUNetConfig) -> str:
    """The network in words."""
    if config.bands:
        return (
            f"mask network of {config.bands} bands with {config.band_width} features each, {config.rnn_layers} turns of bidirectional"
            f" LSTM layers: {config.band_hidden} shared by the bands, {config.rnn_hidden} over all (`models/band_split.py`)"
        )
    middle = f"{config.rnn_layers} bidirectional {config.bottleneck.upper()} layers of {config.rnn_hidden}"
    if not config.channels:
        return f"mask network of {middle} over whole frames"
    return f"mask U-Net of {'-'.join(map(str, config.channels))} channels with {middle}"


def _si_sdr_db(estimate: Audio, truth: Audio) -> float:
    sums = Sums()
    sums.add(estimate, truth)
    return si_sdr(sums)


def measure(system: System, given: PairSet) -> np.ndarray:
    """SI-SDR in, out, and of the clean recording through the model, dB: `[pairs, 3]`, as scripts/bench/bench_quality.py measures."""
    assert system.run is not None, system.missing
    rows = []
    for pair in given.pairs:
        with Clip(pair) as noisy, Clip(Pair(pair.name, pair.clean, pair.clean)) as clean:
            made, alone = system.run(noisy), system.run(clean)
            pairs = ((noisy.noisy, noisy.truth), (made, noisy.truth), (alone, clean.noisy))
            rows.append([_si_sdr_db(estimate, truth) for estimate, truth in pairs])
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--training-audio", type=Path, default=ROOT / "artifacts/training_audio")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--only", choices=PURPOSE, action="append", help="these cards only")
    args = parser.parse_args()
    index = [
        json.loads(line) for line in (args.training_audio / "index.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    minutes = {
        name: round(
            sum(row["seconds"] for row in index if row["kind"] == kind and begin in Path(row["path"]).name) / 60
        )
        for name, kind, begin in MINUTES
    }
    for name, purpose in PURPOSE.items():
        if args.only and name not in args.only:
            continue
        path = ROOT / "models/pilot" / f"{name}.safetensors"
        network, metadata = load_checkpoint(path)
        work = Path(tempfile.gettempdir())
        system = model_system(name, name, Networks(Config(), {name: path}, work, work, threads=1))
        figures = json.loads((args.figures / f"{name}.figures.json").read_text(encoding="utf-8"))
        settings, config = metadata["card"]["settings"], network.config
        rows = [
            f"| held out, {snr} dB, {figures['count']} mixtures | {v['si_sdr_in_db']} | {v['si_sdr_out_db']} | {v['si_sdri_db']} |"
            for snr, v in figures["by_snr_db"].items()
        ]
        rows.append(f"| held out, all | | | {figures['si_sdri_db']} |")
        folders = [("data/pilot (12 clips, 0 to 10 dB)", ROOT / "data/pilot/input", ROOT / "data/pilot/clean")]
        if args.real:
            folders.append(
                ("real speech over real music, 0 to 10 dB", args.real / "mixtures", args.real / "mixtures_clean")
            )
            folders.append(("real noisy speech (VCTK p287)", args.real / "noisy", args.real / "speech"))
        pilot_clean = 0.0
        for title, noisy, clean in folders:
            found = measure(system, two_folders(title, noisy, clean))
            before, after, alone = np.median(found, axis=0)
            pilot_clean = alone if "pilot" in title else pilot_clean
            gain = np.median(found[:, 1] - found[:, 0])
            rows.append(f"| {title}, {len(found)} files | {before:.2f} | {after:.2f} | {gain:.2f} |")
        text = CARD.format(
            name=name, purpose=purpose, params=sum(p.numel() for p in network.parameters()), rate=config.sample_rate,
            n_fft=config.n_fft, hop=config.hop_length, floor=config.mask_floor, limit=config.mask_limit,
            sha256=figures["sha256"], steps=metadata["card"]["steps"], seed=settings["seed"],
            batch=settings["batch_size"] * settings.get("devices", 1), began=BEGAN.get(name, ""),
            seconds=settings["mixtures"]["segment_sec"], shape=shape(config),
            data=DATA[name].format(**minutes), storage=settings.get("storage", "float16"), rows="\n".join(rows),
            clean=figures["clean_in_si_sdr_db"], pilot_clean=round(float(pilot_clean), 2),
            no_speech=figures["no_speech_attenuation_db"], limits=LIMITS[metadata["task"]],
        )  # fmt: skip
        (ROOT / "models/pilot" / f"{name}.md").write_text(text, encoding="utf-8")
        print(name, *rows, sep="\n  ")


if __name__ == "__main__":
    main()
