"""Tiny networks with random weights, written in the real formats: what the tests load instead of downloads."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

SOURCES = ["drums", "bass", "other", "vocals"]
RATE = 8_000
ONE_HOT = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]


def tiny_htdemucs(seed: int = 0, rate: int = RATE) -> Any:
    import torch
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(seed)
    return HTDemucs(
        SOURCES, channels=4, growth=1, nfft=512, depth=3, t_layers=1, t_heads=2, samplerate=rate,
        segment=Fraction(3, 4), dconv_comp=2, dconv_init=1.0,
    ).eval()  # fmt: skip


def tiny_hdemucs(seed: int = 0, rate: int = RATE) -> Any:
    import torch
    from demucs.hdemucs import HDemucs

    torch.manual_seed(seed)
    return HDemucs(
        SOURCES, channels=8, growth=1, samplerate=rate, segment=1, dconv_comp=2, dconv_init=1.0, norm_starts=9
    ).eval()


def package(model: Any, quantiser: Any = None) -> dict[str, Any]:
    from demucs.states import get_state

    args, kwargs = model._init_args_kwargs
    return {"klass": type(model), "args": args, "kwargs": kwargs, "state": get_state(model, quantiser)}


def _encode(value: Any) -> Any:
    if isinstance(value, Fraction):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    return [_encode(item) for item in value] if isinstance(value, list | tuple) else value


def write_safetensors(path: Path, model: Any, klass: str | None = None, **metadata: str) -> None:
    """As demucs' hub export: class and arguments as JSON in the metadata."""
    from safetensors.torch import save_file

    args, kwargs = model._init_args_kwargs
    name = klass or f"{type(model).__module__}.{type(model).__name__}"
    fields = {"klass": name, "args": json.dumps(_encode(args)), "kwargs": json.dumps(_encode(kwargs)), **metadata}
    save_file(
        {key: value.contiguous().clone() for key, value in model.state_dict().items()}, str(path), metadata=fields
    )


def write_bag(
    folder: Path, name: str, models: list[Any], weights: Any = None, segment: float | None = None,
    format: str = "th", quantised: bool = False,
) -> list[Path]:  # fmt: skip
    """A bag as demucs keeps it locally (`.th`) or on the hub (`.safetensors`): members and a YAML."""
    import torch
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    signatures = [f"{index:08x}" for index in range(0xA0, 0xA0 + len(models))]
    paths = []
    for signature, model in zip(signatures, models, strict=True):
        path = folder / f"{signature}.{format}"
        if format == "safetensors":
            write_safetensors(path, model)
        else:
            quantiser = None
            if quantised:
                from diffq import DiffQuantizer

                quantiser = DiffQuantizer(model, group_size=8, min_size=0.001)
            torch.save(package(model, quantiser), path)
        paths.append(path)
    bag: dict[str, Any] = {"models": signatures}
    if weights is not None:
        bag["weights"] = weights
    if segment is not None:
        bag["segment"] = segment
    recipe = folder / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(bag), encoding="utf-8")
    return [recipe, *paths]


def write_tiny_htdemucs_bag(folder: Path, name: str = "htdemucs_ft") -> list[Path]:
    """Four members, one a stem, as htdemucs_ft."""
    return write_bag(folder, name, [tiny_htdemucs(seed) for seed in range(4)], ONE_HOT)


def write_tiny_hdemucs_bag(folder: Path, name: str = "mdx_extra_q", quantised: bool = False) -> list[Path]:
    """Two averaged members and a segment of the bag's own, as mdx_extra_q."""
    return write_bag(folder, name, [tiny_hdemucs(seed) for seed in range(2)], None, 2, quantised=quantised)


def write_tiny_dns64(path: Path, serialised: bool = False) -> Any:
    """The denoiser package's network with 4 hidden channels; needs the package."""
    import torch
    from denoiser.demucs import Demucs
    from denoiser.utils import serialize_model

    torch.manual_seed(0)
    model = Demucs(hidden=4, sample_rate=16_000).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(serialize_model(model) if serialised else model.state_dict(), path)
    return model


def write_tiny_mask_unet(path: Path, task: str = "separate", seed: int = 0) -> Any:
    import torch

    from audiorestorer.models.mask_unet import MaskUNet, MaskUNetConfig, save_checkpoint

    torch.manual_seed(seed)
    config = MaskUNetConfig(channels=(2, 4), time_strides=(1, 2), rnn_hidden=4)
    model = MaskUNet(config).eval()
    save_checkpoint(path, model, task, {"note": "random weights"}, storage="float32")
    return model


def write_tiny_enhancer(path: Path, rate: int = 16_000, seed: int = 0, parts: tuple[str, ...] = ()) -> Any:
    """The enhancer with a few channels and a hop of 160, normalised for speech; untrained: what it makes has no words."""
    import torch

    from audiorestorer.models.enhancer.checkpoint import save_checkpoint
    from audiorestorer.models.enhancer.enhancer import PARTS, Enhancer
    from audiorestorer.models.enhancer.settings import EnhancerSettings

    torch.manual_seed(seed)
    settings = EnhancerSettings.model_validate(
        {
            "features": {"sample_rate": rate, "n_fft": 512, "hop_length": 160, "n_mels": 24},
            "denoiser": {"n_fft": 640, "hop_length": 160, "hidden": 2, "levels": 2, "middle": 1},
            "irmae": {"hidden": 16, "latent": 8, "extra": 4, "blocks": 1, "linears": 2, "groups": 4},
            "flow": {"hidden": 8, "layers": 2, "cycle": 2, "frequencies": 4},
            "vocoder": {"channels": 4, "noise": 4, "strides": (5, 4, 4, 2), "predictor_hidden": 8, "alias_free": (1,)},
        }
    )
    model = Enhancer(settings)
    model.normaliser.mean.fill_(0.5)
    model.normaliser.variance.fill_(0.04)
    save_checkpoint(path, model, parts or PARTS, {"note": "random weights"}, half=False)
    return model


def write_model_json(path: Path, name: str, kind: str, files: list[Path], **more: Any) -> Path:
    """What `fetch-model` writes."""
    from audiorestorer.store import key_of, sha256_file

    rows = [{"path": str(file), "sha256": sha256_file(file)} for file in files]
    record = {"name": name, "kind": kind, "source": "test", "files": rows, "digest": key_of(rows=rows), **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


def write_tiny_whisper(folder: Path) -> list[dict[str, str]]:
    """A Whisper of one layer and byte tokens in CTranslate2's format, as faster-whisper loads it; its files as in a model's record."""
    import numpy as np
    from ctranslate2.specs import WhisperSpec
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    rng, width = np.random.default_rng(0), 16
    names = (
        "endoftext",
        "startoftranscript",
        "translate",
        "transcribe",
        "startoflm",
        "startofprev",
        "nospeech",
        "notimestamps",
    )
    special = [f"<|{name}|>" for name in (*names, *(f"{0.02 * step:.2f}" for step in range(1501)))]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    spec = WhisperSpec(1, 2, 1, 2)

    def random(*shape: int) -> Any:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(width, np.float32), np.zeros(width, np.float32)

    def linear(layer: Any, outputs: int, inputs: int = width) -> None:
        layer.weight, layer.bias = random(outputs, inputs), random(outputs)

    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = random(width, 80, 3), random(width)
    encoder.conv2.weight, encoder.conv2.bias = random(width, width, 3), random(width)
    encoder.position_encodings.encodings, decoder.position_encodings.encodings = random(1500, width), random(448, width)
    decoder.embeddings.weight = decoder.projection.weight = random(len(letters) + len(special), width)
    norm(encoder.layer_norm)
    norm(decoder.layer_norm)
    for layer in (*encoder.layer, *decoder.layer):
        norm(layer.self_attention.layer_norm)
        linear(layer.self_attention.linear[0], 3 * width)
        linear(layer.self_attention.linear[1], width)
        norm(layer.ffn.layer_norm)
        linear(layer.ffn.linear_0, 2 * width)
        linear(layer.ffn.linear_1, width, 2 * width)
    for layer in decoder.layer:
        norm(layer.attention.layer_norm)
        for part, outputs in zip(layer.attention.linear, (width, 2 * width, width), strict=True):
            linear(part, outputs)
    spec.config.suppress_ids = spec.config.suppress_ids_begin = spec.config.lang_ids = []
    spec.config.alignment_heads = [[0, 0]]
    spec.register_vocabulary(sorted(tokenizer.get_vocab(), key=lambda word: tokenizer.get_vocab()[word]))
    spec.validate()
    spec.save(str(folder))
    return [{"path": str(path), "sha256": ""} for path in sorted(folder.iterdir())]


def write_random_panns(folder: Path, labels: int = 527, **more: Any) -> list[dict[str, str]]:
    """Cnn14 with random weights and AudioSet's list of classes in the original formats; the record's files. Only the names that are
    asked for are the real ones."""
    import torch

    from audiorestorer.metrics import tagging

    folder.mkdir(parents=True, exist_ok=True)
    names = [name for group in tagging.CLASSES.values() for name in group]
    names += [f"class {number}" for number in range(labels - len(names))]
    rows = "".join(f'{number},/m/{number},"{name}"\n' for number, name in enumerate(names))
    (folder / "class_labels_indices.csv").write_text(f"index,mid,display_name\n{rows}")
    torch.manual_seed(0)
    network = tagging.network_class(folder / "class_labels_indices.csv")(classes_num=labels, **tagging.CNN14)
    torch.save({"iteration": 600_000, "model": network.state_dict(), **more}, folder / "Cnn14_mAP=0.431.pth")
    return [{"path": str(path), "sha256": ""} for path in sorted(folder.iterdir())]


def write_tiny_fusion(path: Path, sources: tuple[str, ...], seed: int = 0) -> None:
    """A fusion network that has learned nothing: nearly the mean of its sources."""
    import torch

    from audiorestorer.models.fusion import FusionConfig
    from audiorestorer.models.fusion_net import FusionNet, save_checkpoint

    torch.manual_seed(seed)
    shape = {
        "n_fft": 256,
        "hop_length": 64,
        "bands": 4,
        "band_width": 8,
        "band_hidden": 4,
        "rnn_hidden": 8,
        "rnn_layers": 1,
    }
    save_checkpoint(path, FusionNet(FusionConfig(sources=sources, **shape)), {})


def write_tiny_extension(path: Path, sample_rate: int = 16_000, seed: int = 0) -> None:
    """An extension network that has learned nothing: a flat band, half of it voiced."""
    import torch

    from audiorestorer.models.extension import ExtensionConfig
    from audiorestorer.models.extension_net import ExtensionNet, save_checkpoint

    torch.manual_seed(seed)
    shape = {
        "n_fft": 256, "hop_length": 64, "bands": 4, "band_width": 8, "band_hidden": 4, "rnn_hidden": 8, "rnn_layers": 1,
    }  # fmt: skip
    save_checkpoint(path, ExtensionNet(ExtensionConfig(sample_rate=sample_rate, **shape)), {}, "float32")
