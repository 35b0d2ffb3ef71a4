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
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import load_checkpoint
from scripts.bench.quality_sets import ROOT, Clip, Pair, PairSet, two_folders
from scripts.bench.quality_systems import Networks, System, model_system

PURPOSE = {
    "pilot_sep_a": "This model separates speech from music and noise. It is fine in frequency.",
    "pilot_sep_b": "This model separates speech from music and noise. It is finer in time, with more noise in its training.",
    "pilot_denoiser": "This model removes steady noise, hiss, hum, crackle, babble and the residues of music that a separator leaves.",
}
CARD = """# {name}

{purpose}
This is one of the small models with which the pipeline runs on a fresh machine without a download. The full models are larger.

- Architecture: {shape} (`audiorestorer/models/mask_unet.py`), {params:,} parameters, {storage} weights;
  {rate} Hz, n_fft {n_fft}, hop {hop}; a real mask in [{floor:g}, {limit:g}] with the mixture's phase; level-invariant.
- sha256: `{sha256}`
- Training: {steps} steps of {batch} examples of {seconds} s, seed {seed}, on two shared CPU cores;
  `python -m audiorestorer train --config config/experiments/{name}.yaml --data artifacts/training_audio --out MODEL --work DIR`
  (or `snakemake train_pilot`).
{began}{data}

## Measured

The figures are medians of SI-SDR in dB. *Held out* are voices (flite awb, festival cmu_us_slt_arctic_hts, espeak-ng languages and
variants) and pieces of music that the training never used; it did use music of the same genres and instruments.
flite slt (trained) and festival slt-hts (held out) were built from one person's voice.
No checkpoint was chosen by these figures, but they are those of a development set: up to 40 of the test mixtures were looked at while
the loss and the network's shape were changed, and earlier versions of the separators were replaced because of their figures
(convolutional ones with 5.3 dB and less at 0 dB, then recurrent ones; the bands won a race of ten minutes).

| test | in | out | improvement |
| --- | --- | --- | --- |
{rows}

- With pure speech as input, the SI-SDR of the output is {clean} dB (held out), {pilot_clean} dB (data/pilot).
- Input without speech comes out {no_speech} dB quieter.

## Limits

{limits}
"""
SYNTHETIC = """\
- Data: {speech} minutes of synthetic speech (espeak-ng in many languages and variants; flite rms, slt, kal16; festival kal, ked
  and nine voices of Italian, Czech, Finnish, Russian and Catalan: `RECORDED` in scripts/audio/synth_speech.py)
  and {music} minutes of music composed by rules and rendered with the FluidR3 GM soundfont;
  `python -m scripts.audio.make_training_audio --out artifacts/training_audio --minutes-speech 180 --minutes-music 200 --seed 2`.
  No recording of a person was used directly (the authors of flite's and festival's voices built them from recordings).
- Licences: the weights are under this repository's licence (MIT). FluidR3 GM is MIT. espeak-ng is GPL-3. flite, festival and its kal
  and ked voices are BSD-like; the other festival voices are GPL, LGPL or BSD-like. Programs' licences do not cover their output."""
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
- Licences: the weights are under this repository's licence (MIT). FluidR3 GM is MIT. The recordings are CC-BY-SA-3.0 and GPL-2.0
  (speech), GPL-2.0, CC-BY-SA and CC-BY (music and sounds), see docs/licences.md. Programs' licences do not cover their output."""
# name in the card, kind of the index, part of the recordings' file names (make_training_audio.py)
MINUTES = (
    ("speech", "speech", ""), ("people", "speech", "_r"), ("music", "music", ""), ("tracks", "music", "_r"), ("noise", "noise", ""),
)  # fmt: skip
BEGAN = {
    "pilot_sep_a": """\
  Two trainings came before. `pilot_sep_a_begin.yaml` ran 4,900 steps from random weights on 403 minutes of speech and 269 of
  music: the data below without Fish Fillets, the games Widelands and Unknown Horizons, and the sounds. `pilot_sep_a_middle.yaml`
  ran 1,400 steps on 577 minutes of speech, of which 121 are Tux Paint's words and 41 the Czech Fish Fillets; these hold noise and
  are left out since. `snakemake train_pilot` gives all three trainings the audio that `make_training_audio.py` makes now.
"""
}
DATA = {"pilot_sep_a": RECORDED, "pilot_sep_b": RECORDED, "pilot_denoiser": SYNTHETIC}
LIMITS = {
    "separate": """Choirs, singing and solo instruments that glide like a voice are partly taken for speech.
Music in the speech's own bins stays, because a real mask cannot be better than the ideal ratio mask (about 11 dB of improvement
at 0 dB in this test).
Real voices come out worse than synthetic ones, and distant, reverberant or noisy recordings worst (see the figures of the real set).
The network sees nothing above 11.025 kHz; the pipeline extends its gain there (`separators/mask_network.py`).""",
    "denoise": """It is not made for loud music. Sudden sounds (doors, dogs) were not in its training.
It reduces babble of other voices only in part.""",
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
            output, alone = system.run(noisy), system.run(clean)
            pairs = ((noisy.noisy, noisy.truth), (output, noisy.truth), (alone, clean.noisy))
            rows.append([_si_sdr_db(estimate, truth) for estimate, truth in pairs])
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--figures", type=Path, required=True, help="folder of the trained models with their figures (evaluate-model)"
    )
    parser.add_argument(
        "--training-audio", type=Path, default=ROOT / "artifacts/training_audio", help="folder of the training audio"
    )
    parser.add_argument("--real", type=Path, help="folder with sets of real recordings")
    parser.add_argument("--only", choices=PURPOSE, action="append", help="write only this card; may be repeated")
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
