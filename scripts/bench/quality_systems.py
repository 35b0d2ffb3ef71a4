"""Our side of the comparison: models alone, fusions and chains, by the functions of the pipeline's own stages on files.

A chain is `separate` (each separator) -> `fuse` -> steps (`denoise`, `postmask`) in any order. In some rows a fusion that no
stage has takes the place of `fuse` (`quality_fusion`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import Config, DenoiseSettings, FuseSettings, PostmaskSettings, SeparatorSettings
from audiorestorer.config import load as load_config
from audiorestorer.devices import pick_device
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item
from audiorestorer.models import fetching, registry
from audiorestorer.separators import Loaded, ModelFiles, Options, load
from audiorestorer.stages.denoise import denoise_item
from audiorestorer.stages.fuse import Estimates, Fuser, fuse_item, fuser_of
from audiorestorer.stages.postmask import postmask_item
from audiorestorer.stages.separate import separate_item, wanted_stems
from audiorestorer.store import key_of, sha256_file
from scripts.bench.quality_fusion import BOUNDS, fuse_otherwise
from scripts.bench.quality_sets import ROOT, Clip

Step = DenoiseSettings | PostmaskSettings
ABLATION = "ablation: "  # prefix of the names of such rows
WHOLE = "whole chain (defaults)"
PRESETS = ("own_models",)  # files of config/ that are measured beside the defaults
WARM_UP_SEC = 1.0
# Separators of the fusions where the configuration has only one
PILOTS = tuple(SeparatorSettings(name=name[6:], model=name) for name in ("pilot_sep_a", "pilot_sep_b"))


@dataclass(frozen=True)
class System:
    """One row of the table.

    Attributes:
        run: from a recording to the output `[1, T]` at its rate; `missing` says why there is none.
        identity: everything but the recording that the output depends on. weights: bytes.
        mixtures_only: it says nothing about clean speech. delay: from a rate to the samples of delay that are compensated.
    """

    name: str
    kind: str
    identity: str
    weights: int = 0
    run: Callable[[Clip], Audio] | None = None
    missing: str = ""
    mixtures_only: bool = False
    delay: Callable[[int], int] | None = None


class Networks:
    """Models by name, of the registry or of a file; each loaded and warmed up once, as `stages.network` does.

    Args:
        replaced: name -> checkpoint, instead of or beside the registry's.
        cache: folder of fetched models. work: folder for their records and converted networks.
    """

    def __init__(self, config: Config, replaced: dict[str, Path], cache: Path, work: Path, threads: int) -> None:
        self.registry = registry.load(ROOT / config.registry)
        self.replaced, self.cache, self.work, self.threads = replaced, cache, work, threads
        self.device = pick_device("cpu", threads)
        self._loaded: dict[str, Loaded] = {}
        self._fusers: dict[str, Fuser | None] = {}

    def files(self, name: str) -> ModelFiles:
        """Raises AudioRestorerError: not at hand (nothing is downloaded), damaged, or no such entry."""
        if name in self.replaced:
            path = self.replaced[name]
            if not path.is_file():
                raise AudioRestorerError(f"--model {name}={path}: no such file")
            sha256 = sha256_file(path)
            return ModelFiles(name, "mask_network", str(path), [path], {str(path): sha256}, sha256)
        if not fetching.present(name, self.registry, [self.cache]):
            names = ", ".join(file.name for file in self.registry.get(name).files)
            raise AudioRestorerError(f"weights not at hand ({names})")
        record = self.work / "models" / f"{name}.json"
        fetching.fetch(name, self.registry._path, record, self.cache)
        return ModelFiles.read(record)

    def fuser(self, fuse: FuseSettings, models: Sequence[str]) -> Fuser | None:
        """The fusion network of method `learned`."""
        if fuse.method != "learned":
            return None
        key = key_of(model=fuse.model, models=list(models))
        if key not in self._fusers:
            self.files(fuse.model)
            self._fusers[key] = fuser_of(self.work / "models" / f"{fuse.model}.json", fuse, models)
        return self._fusers[key]

    def get(self, name: str, settings: SeparatorSettings | DenoiseSettings) -> Loaded:
        """The network; loading and the first pass are not timed."""
        stems = wanted_stems(settings) if isinstance(settings, SeparatorSettings) else ("vocals",)
        key = key_of(name=name, settings=settings.model_dump(exclude={"name"}), stems=stems)
        if key not in self._loaded:
            options = Options(
                device=self.device,
                stems=stems,
                segment_sec=settings.segment_sec,
                backend=settings.backend,
                precision=settings.precision,
                threads=self.threads,
                cache=self.work / "compiled",
                batch_size=settings.batch_size,
            )
            loaded = load(self.files(name), options)
            network = loaded.network
            noise = np.random.default_rng(0).normal(
                scale=0.01, size=(1, network.channels, int(WARM_UP_SEC * network.sample_rate))
            )
            window = np.zeros((1, network.channels, network.padded(noise.shape[-1])), np.float32)
            window[..., : noise.shape[-1]] = noise
            network(window)
            self._loaded[key] = loaded
        return self._loaded[key]


@dataclass(frozen=True)
class Chain:
    """Separators, how their estimates are fused (`instead`: one of `BOUNDS`), and what follows."""

    separators: tuple[SeparatorSettings, ...]
    fuse: FuseSettings
    steps: tuple[Step, ...] = ()
    instead: str = ""

    def models(self) -> list[str]:
        named = [*self.separators, *(step for step in self.steps if isinstance(step, DenoiseSettings))]
        fusion = [self.fuse.model] if self.fuse.method == "learned" and not self.instead else []
        return sorted({*(settings.model for settings in named if settings.model), *fusion})


def _named(settings: SeparatorSettings) -> str:
    return settings.model_dump_json(exclude={"name"})  # the name is that of a folder


def _fusion_key(chain: Chain) -> str:
    return f"fuse {chain.instead} {chain.fuse.model_dump_json()} {[_named(one) for one in chain.separators]}"


def separated(clip: Clip, settings: SeparatorSettings, networks: Networks) -> dict[str, Path]:
    """The stems of one separator: what stage `separate` writes."""
    loaded = networks.get(settings.model, settings)
    key = f"separate {_named(settings)}"
    return clip.part(key, lambda folder: dict(separate_item(loaded, clip.item, settings, folder).files))  # type: ignore[no-any-return]


def _stems(clip: Clip, chain: Chain, networks: Networks) -> Estimates:
    files = [separated(clip, one, networks) for one in chain.separators]
    return [(str(one["vocals.wav"]), str(one["accompaniment.wav"]) if len(one) > 1 else None) for one in files]


def fused(clip: Clip, chain: Chain, networks: Networks) -> Path:
    """The file of the fused speech; stage `fuse` makes it where it can."""
    key, stems = _fusion_key(chain), _stems(clip, chain, networks)
    if not chain.instead:
        item, fuser = (
            clip.item.updated(estimates=stems),
            networks.fuser(chain.fuse, [one.model for one in chain.separators]),
        )
        return Path(clip.part(key, lambda folder: fuse_item(fuser, item, chain.fuse, folder).files["speech.wav"]))
    return Path(clip.part(key, lambda folder: fuse_otherwise(clip, chain.instead, stems, chain.fuse, folder)))


def stepped(clip: Clip, item: Item, step: Step, before: str, networks: Networks) -> tuple[Item, str]:
    """The row after one more stage, and the key of all that led to it."""
    key = f"{before} > {type(step).__name__} {step.model_dump_json()}"
    if isinstance(step, PostmaskSettings):
        path = clip.part(key, lambda folder: postmask_item(item, step, folder).files["masked.wav"])
        return item.updated(path=str(path)), key
    if step.model is None:
        return item, before
    loaded = networks.get(step.model, step)
    result = clip.part(key, lambda folder: denoise_item(loaded, item, step, folder))
    return item.updated(path=str(result.files["denoised.wav"]), high_band=step.high_band, **result.row), key


def run_chain(clip: Clip, chain: Chain, networks: Networks) -> Audio:
    """The output `[1, T]` of a chain: sample by sample what the pipeline's stages write, up to the loudness stage."""
    path = fused(clip, chain, networks)
    item, key = clip.item.updated(path=str(path)), _fusion_key(chain)
    for step in chain.steps:
        item, key = stepped(clip, item, step, key, networks)
    return audio.read(str(item.path))[0]


def _stages_code() -> str:
    # no stage that runs a network imports the kinds of networks: they are named here
    return code_digest(
        "stages.separate", "stages.fuse", "stages.denoise", "stages.postmask", "separators.mask_network", "separators.demucs",
        "separators.dns64", "separators.hybrid", "separators.deepfilternet", "separators.gtcrn", "separators.dtln",
    ) + sha256_file(__file__) + sha256_file(str(Path(__file__).with_name("quality_fusion.py")))  # fmt: skip


def chain_system(name: str, chain: Chain, networks: Networks) -> System:
    """A row of ours; one with a model that is not at hand says so."""
    try:
        files = [networks.files(model) for model in chain.models()]
    except AudioRestorerError as error:
        return System(name, "ours", "", missing=str(error), mixtures_only=chain.instead in BOUNDS)
    steps = [(type(step).__name__, step.model_dump()) for step in chain.steps]
    own = [_named(one) for one in chain.separators]
    identity = key_of(
        separators=own, instead=chain.instead, steps=steps, fuse=chain.fuse.model_dump(), code=_stages_code(),
        weights=[file.digest for file in files],
    )  # fmt: skip
    return System(
        name, "ours", identity, _bytes(files), lambda clip: run_chain(clip, chain, networks),
        mixtures_only=chain.instead in BOUNDS,
    )  # fmt: skip


def model_system(name: str, model: str, networks: Networks, kind: str = "ours") -> System:
    """A model alone: a separator's own estimate, or a denoiser's with `wet: 1`; the band above its Nyquist is kept in both."""
    try:
        files = networks.files(model)
        denoiser = model not in networks.replaced and networks.registry.get(model).task == "denoise"
    except AudioRestorerError as error:
        return System(name, kind, "", missing=str(error))

    def run(clip: Clip) -> Audio:
        if denoiser:
            item, _ = stepped(clip, clip.item, DenoiseSettings(model=model, wet=1.0), "mixture", networks)
            return audio.read(str(item.path))[0]
        return audio.read(separated(clip, SeparatorSettings(name="alone", model=model), networks)["vocals.wav"])[0]

    identity = key_of(alone=model, weights=files.digest, code=_stages_code())
    return System(name, kind, identity, _bytes([files]), run)


def _bytes(files: Sequence[ModelFiles]) -> int:
    return sum(path.stat().st_size for one in files for path in one.files)


def embedded_bytes(networks: Networks) -> int:
    """Bytes of all weights in the repository: neither a download's nor a package's."""
    elsewhere = ("hf:", "https://", registry.PACKAGE)
    names = [name for name, entry in networks.registry.models.items() if not entry.source.startswith(elsewhere)]
    return _bytes([networks.files(name) for name in names])


def _maker(
    separators: tuple[SeparatorSettings, ...], fuse: FuseSettings, networks: Networks, prefix: str = ""
) -> Callable[..., System]:
    """A function that makes a row from a name and steps, with these separators and this fusion by default."""

    def chain(
        name: str, *steps: Step, fuse: FuseSettings = fuse, instead: str = "",
        separators: tuple[SeparatorSettings, ...] = separators,
    ) -> System:  # fmt: skip
        return chain_system(prefix + name, Chain(separators, fuse, steps, instead), networks)

    return chain


def our_systems(config: Config, networks: Networks, extra: Sequence[str]) -> list[System]:
    """Models alone, fusions, and the chain of the configuration step by step. `extra`: labels of more models alone."""
    own = tuple(config.separators)
    both = own if len(own) > 1 else PILOTS
    alone = [
        *(one.model for one in both),
        *(step.model for step in steps_of(config) if isinstance(step, DenoiseSettings)),
    ]
    systems = [model_system(f"{name} alone", name, networks) for name in dict.fromkeys([*alone, *extra])]

    chain = _maker(both, config.fuse, networks)
    return [
        *systems,
        *(chain(f"fusion: {name}", fuse=fuse) for name, fuse in fusions(config.fuse).items()),
        chain("fusion: oracle choice (bound)", instead="oracle"),
        chain("ideal ratio mask (bound)", instead="ideal"),
        chain(f"fusion: {named_fusion(config.fuse)}, denoised", config.denoise),
        chain(WHOLE, *steps_of(config), separators=own),
        *(_preset(name, networks) for name in PRESETS),
    ]


def steps_of(config: Config) -> list[Step]:
    """The stages after the fusion that are on."""
    return [
        step for step in (config.denoise, config.postmask) if step.enabled and getattr(step, "model", "") is not None
    ]


def _preset(name: str, networks: Networks) -> System:
    config = load_config(Config, str(ROOT / f"config/{name}.yaml"))
    return chain_system(
        f"preset {name}", Chain(tuple(config.separators), config.fuse, tuple(steps_of(config))), networks
    )


def named_fusion(fuse: FuseSettings) -> str:
    return f"{fuse.method}, power {fuse.power:g}" if fuse.method in ("max", "mean") else fuse.method


def fusions(fuse: FuseSettings) -> dict[str, FuseSettings]:
    """Maximum and mean of plain and of sharpened masks, mean of the estimates, and the fusion network, by name."""
    variants = [with_(fuse, method=method, power=power) for method in ("max", "mean") for power in (1.0, 2.0)]
    variants += [with_(fuse, method=method) for method in ("average", "learned")]
    return {named_fusion(one): one for one in variants}


def with_(settings: Any, **changes: Any) -> Any:
    return type(settings).model_validate({**settings.model_dump(), **changes})


def ablation_systems(config: Config, networks: Networks) -> list[System]:
    """The whole chain with one thing changed: separators, fusion, order, denoiser, wet, beta, floor."""
    both, denoise, mask = tuple(config.separators), config.denoise, config.postmask

    chain = _maker(both, config.fuse, networks, ABLATION)
    single = [chain(f"{one.model} only", denoise, mask, separators=(one,)) for one in both] if len(both) > 1 else []
    return [
        *single,
        *(chain(name, denoise, mask, fuse=fuse) for name, fuse in fusions(config.fuse).items() if fuse != config.fuse),
        chain("oracle choice (bound)", denoise, mask, instead="oracle"),
        chain("no denoiser", mask),
        chain("post-mask before denoiser", mask, denoise),
        *(chain(f"wet {wet:g}", with_(denoise, wet=wet), mask) for wet in (0.5, 1.0) if wet != denoise.wet),
        chain("no post-mask", denoise),
        chain("neither denoiser nor post-mask"),
        *(chain(f"wet {wet:g}, no post-mask", with_(denoise, wet=wet)) for wet in (0.5, 1.0) if wet != denoise.wet),
        *(chain(f"beta {beta:g}", denoise, with_(mask, beta=beta)) for beta in (0.5, 1.0, 1.5, 2.0) if beta != mask.beta),
        *(chain(f"floor {floor:g}", denoise, with_(mask, floor=floor)) for floor in (0.0, 0.05, 0.1, 0.2, 0.4) if floor != mask.floor),
    ]  # fmt: skip
