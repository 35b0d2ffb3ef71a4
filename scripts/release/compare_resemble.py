"""Our reading of Resemble Enhance against its original classes, on random weights in the released form.

    python -m scripts.release.compare_resemble ORIGINAL [--seconds 1 5 40] [--nfe N] [--channels N] [--out FILE]

ORIGINAL is a checkout of github.com/resemble-ai/resemble-enhance, which is not part of this project. Its classes are built with random
weights, rounded to half precision and saved as its training saves them; our loader reads that file. Both restore the same audio with
the same noise: the original draws it, ours is given what it drew. What the original needs and does not run here (deepspeed, omegaconf,
its training loop) is replaced by empty modules. Prints a table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
import torch

from audiorestorer.config import EnhanceSettings
from audiorestorer.separators import ModelFiles
from audiorestorer.separators.resemble_enhancer import ResembleEnhancer
from audiorestorer.separators.runtime.streaming import Recording

RATE = 44_100
NOT_RUN = (
    "deepspeed", "deepspeed.accelerator", "deepspeed.runtime", "deepspeed.runtime.engine", "deepspeed.runtime.utils", "omegaconf",
    "resemble_enhance.utils", "resemble_enhance.utils.distributed", "resemble_enhance.utils.train_loop",
    "resemble_enhance.denoiser.inference",
)  # fmt: skip


class _Empty(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **_: args[0] if args and callable(args[0]) else None


class _NoLoop:
    @staticmethod
    def get_running_loop() -> None:
        return None


def original(folder: Path, channels: int) -> Any:
    """The original enhancer with random weights of half precision."""
    sys.path.insert(0, str(folder))
    root = scipy.optimize.fsolve
    scipy.optimize.fsolve = lambda *args, **more: root(*args, **more)[
        0
    ]  # the original makes a float of its array of one
    modules: Any = {name: _Empty(name) for name in NOT_RUN}
    sys.modules.update(modules)
    modules["resemble_enhance.utils.train_loop"].TrainLoop = _NoLoop
    modules["resemble_enhance.utils.distributed"].global_leader_only = lambda function: function
    from resemble_enhance.denoiser.denoiser import Denoiser
    from resemble_enhance.denoiser.hparams import HParams as DenoiserHParams

    modules["resemble_enhance.denoiser.inference"].load_denoiser = lambda *_: Denoiser(DenoiserHParams())
    from resemble_enhance.enhancer.enhancer import Enhancer
    from resemble_enhance.enhancer.hparams import HParams

    torch.manual_seed(1)
    model = Enhancer(HParams(lcfm_training_mode="cfm", lcfm_z_scale=6, univnet_nc=channels)).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.numel() == 1 and "running" in name:
                value.fill_(0.3 if "mean" in name else 0.05)
            elif "log_" in name:  # of the periodic activations: not all one
                value.copy_(torch.randn_like(value) / 3)
            value.copy_(value.half())
    return model


def saved(model: Any, path: Path, *, old_names: bool) -> None:
    """As DeepSpeed saves it. `old_names`: weight norms as before PyTorch 2.1, which the released file has."""
    state = {name: value.half() for name, value in model.state_dict().items()}
    if old_names:
        state = {
            name.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ): value
            for name, value in state.items()
        }
    torch.save({"module": state, "ds_config": None, "global_steps": 1}, path)


class Recorded:
    """Stands for torch's noise while the original runs, and keeps what it drew."""

    def __init__(self) -> None:
        self.drawn: list[torch.Tensor] = []
        self._randn, self._like = torch.randn, torch.randn_like

    def __enter__(self) -> Recorded:
        def randn(*sizes: Any, **options: Any) -> torch.Tensor:
            self.drawn.append(self._randn(*sizes, **options))
            return self.drawn[-1]

        def like(x: torch.Tensor, **options: Any) -> torch.Tensor:
            self.drawn.append(self._like(x, **options))
            return self.drawn[-1]

        torch.randn, torch.randn_like = randn, like  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        torch.randn, torch.randn_like = self._randn, self._like


def speechlike(length: int, seed: int) -> np.ndarray:
    """Noise with the rhythm of speech."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / RATE
    signal = rng.standard_normal(length) * (0.2 + np.sin(2 * np.pi * 3 * time) ** 2)
    return (0.1 * np.convolve(signal, np.ones(8) / 8, "same")).astype(np.float32)


def ours(
    model: ModelFiles, settings: EnhanceSettings, audio: np.ndarray, drawn: Iterator[torch.Tensor]
) -> dict[str, np.ndarray]:
    enhancer = ResembleEnhancer.of_model(model, settings, "cpu", torch.get_num_threads())
    enhancer.draw = lambda *_: next(drawn)  # type: ignore[method-assign]
    recording = Recording(lambda: iter([audio[None]]), RATE, 1, len(audio))
    blocks = list(enhancer.stream(recording))
    return {name: np.concatenate([block[name][0] for block in blocks]) for name in blocks[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("original", type=Path, help="a checkout of the original's repository")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 5, 40], help="lengths of the audio")
    parser.add_argument("--nfe", type=int, default=8, help="evaluations of the flow's field")
    parser.add_argument("--channels", type=int, default=96, help="of the vocoder; the released file has 96")
    parser.add_argument("--out", type=Path, help="file for the table")
    args = parser.parse_args()
    model = original(args.original, args.channels)
    from resemble_enhance.inference import inference

    lines = ["| what | seconds | largest difference | of a peak of |", "| --- | ---: | ---: | ---: |"]
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        paths = [Path(name) / f"{kind}.pt" for kind in ("old", "new")]
        for path, old_names in zip(paths, (True, False), strict=True):  # before the original folds its norms
            saved(model, path, old_names=old_names)
        network = {"layout": "resemble", "univnet_nc": args.channels, "lcfm_z_scale": 6}
        model.configurate_(nfe=args.nfe, solver="midpoint", lambd=0.7, tau=0.5)
        for index, seconds in enumerate(args.seconds):
            path = paths[index % 2]
            files = ModelFiles(
                "resemble_enhance", "enhancer", "none", [path], {str(path): "0"}, "0", RATE, False, network
            )
            audio = speechlike(round(seconds * RATE), index)
            with Recorded() as noise:
                enhanced, _ = inference(model, torch.from_numpy(audio), RATE, "cpu")
            denoised, _ = inference(model.denoiser, torch.from_numpy(audio), RATE, "cpu")
            settings = EnhanceSettings(regenerate_all=True, nfe=args.nfe, lambd=0.7, tau=0.5)
            got = ours(files, settings, audio, iter(noise.drawn))
            for what, theirs in (("denoised", denoised), ("enhanced", enhanced)):
                difference = float(np.abs(got[what] - theirs.numpy()).max())
                lines.append(f"| {what} | {seconds:g} | {difference:.1e} | {float(theirs.abs().max()):.3g} |")
                print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
