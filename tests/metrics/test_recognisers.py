"""Recognisers on speech whose words are known; networks with random weights in the original formats where weights are a download."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import Missing, group_wer, recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.recognisers import torchaudio_ctc, transcribe, utterances
from audiorestorer.metrics.texts import distinct, word_error_rate
from tests.tiny_models import write_tiny_whisper

PILOT = Path(__file__).parents[2] / "data/pilot"
RATE = recognisers.RATE_HZ


def pilot() -> dict[str, dict[str, str]]:
    with open(PILOT / "transcripts.tsv", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file, delimiter="\t")}


def clean(voice: str) -> tuple[str, str]:
    """A clean clip of a voice: path and transcript."""
    for name, row in pilot().items():
        if row["voice"] == voice:
            path = next((PILOT / "clean" / name).parent.glob(f"{Path(name).stem}.*"))
            return str(path), row["transcript"]
    raise AssertionError(voice)


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(sentences=distinct([row["transcript"] for row in pilot().values()]))


@pytest.fixture(scope="module")
def batch(context: Context) -> recognisers.Recogniser:
    return recognisers.load(context, "batch")


def test_clean_speech_is_understood_with_the_batch_s_sentences(batch):
    for voice in ("flite:awb", "festival:cmu_us_slt_arctic_hts"):
        path, text = clean(voice)
        assert word_error_rate(text, transcribe(batch, path)) <= 0.1


def test_the_general_model_needs_no_text_and_hears_most_of_a_clear_voice():
    general = recognisers.load(Context(), "general")
    path, text = clean("festival:cmu_us_slt_arctic_hts")
    assert word_error_rate(text, transcribe(general, path)) < 0.5


def test_a_file_s_text_does_not_depend_on_the_one_before(batch):
    first, second = clean("flite:awb")[0], clean("espeak:en-us-nyc+victor")[0]
    alone = transcribe(batch, first)
    transcribe(batch, second)
    assert transcribe(batch, first) == alone


def test_noise_at_minus_20_db_costs_words(batch, tmp_path):
    path, text = clean("flite:awb")
    signal, rate = sf.read(path, always_2d=True)
    noise = np.random.default_rng(0).standard_normal(signal.shape) * np.sqrt(np.mean(signal**2)) * 10
    sf.write(tmp_path / "n.wav", np.clip((signal + noise) / 40, -1, 1), rate)
    assert word_error_rate(text, transcribe(batch, str(tmp_path / "n.wav"))) > 0.5


def test_silence_is_no_word(batch, tmp_path):
    sf.write(tmp_path / "s.wav", np.zeros(RATE), RATE)
    assert (
        word_error_rate("one two", transcribe(batch, str(tmp_path / "s.wav"))) >= 1
        or transcribe(batch, str(tmp_path / "s.wav")) == ""
    )


def test_no_sentences_is_a_reason_not_a_zero():
    compute = group_wer.load(Context(language_models=("batch",)))
    values, missing, _ = compute(clean("flite:awb")[0], None)
    assert values == {} and "no transcript" in missing["wer"]


def test_unreadable_audio_is_a_reason(batch, tmp_path):
    (tmp_path / "x.wav").write_bytes(b"no audio")
    with pytest.raises(Missing, match=r"x\.wav"):
        transcribe(batch, str(tmp_path / "x.wav"))


def test_long_files_are_cut_in_pauses_and_nothing_is_lost():
    """Bursts of 0.9 s with pauses of 0.1 s: every cut lies in a pause, and the parts are the whole."""
    time = np.arange(65 * RATE) / RATE
    signal = (np.sin(2 * np.pi * 300 * time) * (time % 1 < 0.9)).astype(np.float32)
    blocks = (signal[None, start : start + 7000] for start in range(0, len(signal), 7000))
    parts = list(utterances(blocks))
    assert np.array_equal(np.concatenate(parts), signal)
    assert all(10 * RATE <= len(part) <= 20 * RATE for part in parts[:-1]) and len(parts[-1]) <= 20 * RATE
    ends = np.cumsum([len(part) for part in parts])[:-1] / RATE
    assert all(0.9 <= end % 1 < 1 for end in ends)


def test_greedy_ctc():
    place = {letter: number for number, letter in enumerate(torchaudio_ctc.LETTERS)}
    path = [place[letter] for letter in "--HH-EE-LL-LL-O||-W-OO-RLD--"]
    assert torchaudio_ctc.decoded(path) == "hello world"
    assert torchaudio_ctc.decoded([0, 0]) == ""


def test_letters_are_those_of_torchaudio_s_pipeline():
    torchaudio = pytest.importorskip("torchaudio")
    assert torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H.get_labels() == torchaudio_ctc.LETTERS


def test_wav2vec_checkpoints_in_the_original_format(tmp_path):
    import torch
    from torchaudio.models import wav2vec2_base

    torch.manual_seed(0)
    torch.save(wav2vec2_base(aux_num_out=29).state_dict(), tmp_path / "w.pth")
    record = {"name": "w", "kind": "torchaudio_ctc", "digest": "0", "files": [{"path": str(tmp_path / "w.pth")}]}
    heard = transcribe(recognisers.load(Context(recogniser=record), "own"), clean("flite:awb")[0])
    assert set(heard) <= set("abcdefghijklmnopqrstuvwxyz' ")
    (tmp_path / "w.pth").write_bytes(b"damaged")
    with pytest.raises(AudioRestorerError, match=r"model w: .*w\.pth"):
        recognisers.load(Context(recogniser=record), "own")


def test_whisper_models_in_ctranslate2_s_format(tmp_path):
    pytest.importorskip("faster_whisper", reason="an optional package (requirements-extras.lock)")
    record = {"name": "tiny", "kind": "faster_whisper", "digest": "0", "files": write_tiny_whisper(tmp_path / "tiny")}
    context = Context(recogniser=record)
    assert group_wer.names(context) == {"wer": "own"} and recognisers.unavailable(context) is None
    path = clean("flite:awb")[0]
    heard = [transcribe(recognisers.load(context, "own"), path) for _ in range(2)]
    assert heard[0] == heard[1] and heard[0]
    without = {**record, "files": [file for file in record["files"] if "tokenizer" not in file["path"]]}
    with pytest.raises(AudioRestorerError, match=r"tokenizer\.json"):
        recognisers.load(Context(recogniser=without), "own")
    (tmp_path / "tiny/model.bin").write_bytes(b"damaged")
    with pytest.raises(AudioRestorerError, match="model tiny"):
        recognisers.load(context, "own")


def test_an_unknown_kind_is_an_error():
    with pytest.raises(AudioRestorerError, match="panns"):
        recognisers.kind_of(Context(recogniser={"kind": "panns"}))
