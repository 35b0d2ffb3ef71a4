"""wav2vec 2.0 with letters as CTC outputs: torchaudio's WAV2VEC2_ASR_BASE_960H, from a local state dict, decoded greedily."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics.context import Context

LETTERS = (
    "-",
    "|",
    *"ETAONIHSRDLUMWCFGYPBVK'XJQZ",
)  # blank, space between words, letters: the order of the checkpoint's outputs
SHORTEST = 400  # samples: the receptive field of the feature extractor


def languages(context: Context) -> frozenset[str] | None:
    """Its letters are English ones, and so is what it was trained on."""
    return frozenset(("en",))


def load(context: Context, language_model: str) -> Any:
    """
    Raises:
        AudioRestorerError: not a state dict of this network.
    """
    import torch
    from torchaudio.models import wav2vec2_base

    from audiorestorer.devices import use_threads
    from audiorestorer.models import torch_files

    assert context.recogniser is not None
    name, path = context.recogniser["name"], Path(context.recogniser["files"][0]["path"])
    network = wav2vec2_base(aux_num_out=len(LETTERS)).eval()
    try:
        network.load_state_dict(torch_files.read(path))
    except Exception as error:  # torch raises whatever a damaged or foreign file leads to
        raise AudioRestorerError(f"model {name}: {path}: {str(error).splitlines()[0]:.200}") from error
    use_threads(context.threads)
    network.to(context.device)

    def recognise(utterance: Audio) -> str:
        if len(utterance) < SHORTEST:
            return ""
        with torch.inference_mode():
            emission, _ = network(torch.from_numpy(utterance)[None].to(context.device))
        return decoded(emission[0].argmax(dim=-1).tolist())

    return recognise


def decoded(indices: list[int]) -> str:
    """The text of a greedy CTC path: repetitions joined, blanks dropped (Graves et al. 2006)."""
    letters = [LETTERS[index] for index, _ in groupby(indices) if index]
    return "".join(letters).replace("|", " ").lower().strip()
