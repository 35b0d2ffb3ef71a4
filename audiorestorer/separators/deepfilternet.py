"""`kind: deepfilternet`: DeepFilterNet3 from the archive that its authors released, run in ONNX Runtime. No torch import.

The archive holds three graphs and a `config.ini`; it is read in memory, and nothing of it is written or executed but the graphs.
The networks' memory (GRUs, running means) has no inputs: windows of a long recording begin some seconds early instead, and what
is heard of that is bounded by a test. Unlike the authors' real-time library it has no gates: no frame is skipped or set to zero.
"""

from __future__ import annotations

import configparser
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.deepfilter import DeepFilterConfig, Networks, enhanced
from audiorestorer.models.onnx_run import session
from audiorestorer.separators import ModelFiles, Options, Separator, refuse_fast
from audiorestorer.separators.runtime.row_by_row import RowByRow

GRAPHS = ("enc.onnx", "erb_dec.onnx", "df_dec.onnx")
SETTINGS = "config.ini"
MAX_MEMBER_BYTES, MAX_MEMBERS = 64_000_000, 64
SEGMENT_SEC = 20.0
# config.ini's names of the attributes that the arithmetic takes from it: (section, key)
KEYS = {
    "sample_rate": ("df", "sr"), "n_fft": ("df", "fft_size"), "hop_length": ("df", "hop_size"), "bands": ("df", "nb_erb"),
    "filtered": ("df", "nb_df"), "taps": ("df", "df_order"), "ahead": ("df", "df_lookahead"), "least_bins": ("df", "min_nb_erb_freqs"),
    "seen_ahead": ("deepfilternet", "conv_lookahead"),
}  # fmt: skip


class DeepFilterNet(RowByRow):
    """The network; `vocals` is the speech."""

    segment_sec = SEGMENT_SEC

    def __init__(self, config: DeepFilterConfig, networks: Networks, in_work: int) -> None:
        self.config, self.networks, self.in_work = config, networks, in_work
        self.sample_rate, self.align = config.sample_rate, config.hop_length

    def one(self, audio: Audio) -> Audio:
        return enhanced(self.config, self.networks, audio)


def read_archive(path: Path) -> dict[str, bytes]:
    """The graphs and the settings of an archive by file name.

    Raises:
        AudioRestorerError: damaged, a member that is missing or too large, or the name of one that is there twice.
    """
    wanted = (*GRAPHS, SETTINGS)
    out: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for count, member in enumerate(archive):
                name = PurePosixPath(member.name).name
                if member.size > MAX_MEMBER_BYTES or count == MAX_MEMBERS:
                    raise AudioRestorerError(
                        f"{path}: {name:.80} is larger than {MAX_MEMBER_BYTES // 10**6} MB, or one of too many"
                    )
                if not member.isfile() or name not in wanted:
                    continue
                if name in out:
                    raise AudioRestorerError(f"{path}: {name} is there twice")
                content = archive.extractfile(member)
                assert content is not None, "a regular file"
                out[name] = content.read()
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise AudioRestorerError(f"{path}: not a readable .tar.gz archive: {error}") from error
    missing = [name for name in wanted if name not in out]
    if missing:
        raise AudioRestorerError(f"{path}: not an archive of DeepFilterNet3: {', '.join(missing)} missing")
    return out


def read_config(text: str, origin: str) -> DeepFilterConfig:
    """The sizes in a `config.ini`.

    Raises:
        AudioRestorerError: a size is missing, no number or out of bounds; or a variant that the arithmetic here does not have.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
        sizes = {name: parser.getint(*place) for name, place in KEYS.items()}
        model, tau = parser.get("train", "model"), parser.getfloat("df", "norm_tau")
    except (configparser.Error, ValueError) as error:
        raise AudioRestorerError(f"{origin}: {SETTINGS}: {error}") from error
    if model != "deepfilternet3":
        raise AudioRestorerError(f"{origin}: {SETTINGS} says model {model:.40}; only deepfilternet3 is supported")
    whole = sizes["n_fft"] % 2 == 0 and sizes["n_fft"] == 2 * sizes["hop_length"]
    bounded = all(1 <= value <= 192_000 for value in sizes.values()) and sizes["ahead"] < sizes["taps"] <= 64
    fits = sizes["bands"] * sizes["least_bins"] <= sizes["n_fft"] // 2 + 1 >= sizes["filtered"]
    if not (whole and bounded and fits and 0 < tau <= 100):
        raise AudioRestorerError(f"{origin}: {SETTINGS}: sizes that do not fit together: {sizes}, norm_tau {tau:g}")
    # the authors round it to three digits
    return DeepFilterConfig(**sizes, forget=round(float(np.exp(-sizes["hop_length"] / sizes["sample_rate"] / tau)), 3))


def by_graphs(content: dict[str, bytes], origin: str) -> Networks:
    """The three graphs as one function, each in a session of one thread.

    Raises:
        AudioRestorerError: a graph cannot be loaded.
    """
    try:
        encoder, gain_decoder, tap_decoder = (session(content[name], one_length=False) for name in GRAPHS)
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise AudioRestorerError(f"{origin}: a graph cannot be loaded: {str(error):.300}") from error

    def networks(erb: Audio, unit: Audio) -> tuple[Audio, Audio]:
        given: Any = {"feat_erb": erb[None, None], "feat_spec": unit[None]}
        e0, e1, e2, e3, embedding, lower = encoder.run(["e0", "e1", "e2", "e3", "emb", "c0"], given)
        gains = gain_decoder.run(["m"], {"emb": embedding, "e3": e3, "e2": e2, "e1": e1, "e0": e0})[0]
        taps = tap_decoder.run(["coefs"], {"emb": embedding, "c0": lower})[0]
        return gains[0, 0], taps[0]

    return networks


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: an archive that cannot be used, a rate other than the registry's, or a precision it does not have."""
    refuse_fast(model, options, has=("onnxruntime",))
    path = model.one(".gz")
    content = read_archive(path)
    config = read_config(content[SETTINGS].decode("utf-8", "replace"), str(path))
    if model.sample_rate not in (None, config.sample_rate):
        raise AudioRestorerError(
            f"model {model.name}: the registry says {model.sample_rate} Hz, the file {config.sample_rate} Hz"
        )
    return DeepFilterNet(config, by_graphs(content, str(path)), options.threads)
