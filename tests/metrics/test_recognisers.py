"""Recognisers on speech whose words are known; networks with random weights in the original formats where weights are a download."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from audiorestorer.config import EvaluateSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, draw, read_manifest, write_manifest
from audiorestorer.metrics import Missing, recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Sound
from audiorestorer.metrics.groups import Figures
from audiorestorer.metrics.groups import wer as group_wer
from audiorestorer.metrics.recognisers import torchaudio_ctc, transcribe, utterances
from audiorestorer.metrics.texts import distinct, word_error_rate
from audiorestorer.stages import evaluate
from audiorestorer.stages.evaluate import measure_group, sentences_of
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
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


def said(text: str, path: str, name: str = "x") -> Item:
    sha256 = sha256_file(Path(path))
    return Item(id=name, noisy=path, noisy_sha256=sha256, path=path, sha256=sha256, transcript=text)


CTC = Context(recogniser={"kind": "torchaudio_ctc"})


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
    path, text = clean("flite:awb")
    figures = group_wer.GROUP.measured(compute, Sound.of_file(path, transcript=text), Figures(["wer"]))
    assert not figures.values and "no transcript" in figures.missing["wer"]


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


@pytest.mark.parametrize("context", [Context(), CTC], ids=["pocketsphinx", "ctc"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("तुम क्या पढ़ते हो", "Devanagari script"),
        ("今天天气很好", "Han script"),
        ("كيف حالك اليوم", "Arabic script"),
        ("Который сейчас час", "Cyrillic script"),
        ("안녕하세요 여러분", "Hangul script"),
        ("Question five: 你好吗", "Han script"),
        ("Wir sind gestern nicht in die Stadt gefahren", "German"),
        ("Je ne sais pas où il est", "French"),
        ("No sé dónde está la casa de mis padres", "Spanish"),
        ("Ik heb geen zin om naar buiten te gaan", "Dutch"),
        ("Nie wiem, co to jest", "Polish"),
        ("Tôi không biết bạn là ai", "Vietnamese"),
    ],
)
def test_a_recogniser_of_english_cannot_know_other_languages(context, text, why):
    reason = recognisers.unfit(context, text)
    assert reason is not None and why in reason and "English" in reason
    assert recognisers.kind_of(context) in reason


@pytest.mark.parametrize("context", [Context(), CTC], ids=["pocketsphinx", "ctc"])
def test_english_is_known_with_its_names_and_quotations(context):
    texts = [row["transcript"] for row in pilot().values()]
    texts += [
        "Turn left", "Yes", "50", "I was in Las Vegas and Los Angeles", "Mario de la Cruz plays for Real Madrid", "Die hard",
        "C'est la vie, he said", "He ordered a tortilla de patatas", "The menu said: pommes de terre au gratin", "Mrs. O'Leary's cow",
        "[noise] Søren met Łukasz at the café (laughs)", "Men at work", "Van den Berg", "The war in Iraq is over", "the sign said 中",
    ]  # fmt: skip
    assert [text for text in texts if recognisers.unfit(context, text)] == []


def test_words_that_no_dictionary_has_are_no_task_for_pocketsphinx():
    text = "Selamat pagi semuanya kawan"
    assert "not in the dictionary of the recogniser pocketsphinx (English)" in str(recognisers.unfit(Context(), text))
    assert recognisers.unfit(CTC, text) is None  # its letters can write them


def test_multilingual_whisper_models_may_be_given_any_text(tmp_path):
    for name, tokens, known in (("all", 51_865, None), ("en", 51_864, frozenset(("en",)))):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "vocabulary.txt"
        path.write_text("a\n" * tokens)
        context = Context(recogniser={"kind": "faster_whisper", "files": [{"path": str(path)}]})
        assert recognisers.languages(context) == known
        assert bool(recognisers.unfit(context, "今天天气很好")) == (known is not None)
    path.write_bytes(b"\xff")
    with pytest.raises(AudioRestorerError, match=r"vocabulary\.txt"):
        recognisers.languages(context)


def test_transcripts_that_the_recogniser_cannot_know_have_a_reason_and_spoil_no_others(batch, tmp_path, monkeypatch):
    """A mixed batch: the English row is as it would be alone, the language model knows neither annotations nor other languages."""
    path, text = clean("festival:cmu_us_slt_arctic_hts")
    rows = [f"[noise] {text} (laughs)", "तुम क्या पढ़ते हो", "Wir sind gestern nicht in die Stadt gefahren", "[silence]"]
    (tmp_path / "t.tsv").write_text("path\ttranscript\n" + "".join(f"{i}.wav\t{row}\n" for i, row in enumerate(rows)))
    sentences = group_wer.sentences(Context(), sentences_of(tmp_path / "t.tsv"))
    assert sentences == distinct([text])
    monkeypatch.setattr(recognisers, "load", lambda context, model: batch)  # to load one takes seconds
    context = Context(language_models=("batch",), sentences=sentences)
    items = [said(row, path, str(number)) for number, row in enumerate(rows)]
    english, hindi, german, silence = measure_group("wer", items, tmp_path / "store", context)
    assert english.metrics["wer"] <= 0.1
    for item, why in ((hindi, "Devanagari"), (german, "German"), (silence, "no word")):
        assert not item.metrics and not item.heard
        assert why in item.missing["wer"] and why in item.missing["wer_in"]


def test_a_figure_of_characters_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(recognisers, "languages", lambda context: None)
    monkeypatch.setattr(recognisers, "load", lambda context, model: lambda utterance: "今天天气真好")
    (item,) = measure_group(
        "wer", [said("今天天气很好。", clean("flite:awb")[0])], tmp_path, Context(language_models=("general",))
    )
    assert item.metrics["wer_open"] == pytest.approx(1 / 6) and "characters" in item.notes["wer"]


def test_the_batch_s_own_dictionary_changes_no_word(context, batch, monkeypatch):
    """The decoder with all 130 000 pronunciations, five seconds of loading later, hears the same."""
    from pocketsphinx import get_model_path

    from audiorestorer.metrics.recognisers import pocketsphinx

    def whole(_: tuple[str, ...], path: Path) -> None:
        path.write_bytes(Path(get_model_path(pocketsphinx.DICTIONARY)).read_bytes())

    monkeypatch.setattr(pocketsphinx, "_write_dictionary", whole)
    long = recognisers.load(context, "batch")
    for row in list(pilot().values())[:3]:
        path = str(next((PILOT / "input" / row["path"]).parent.glob(f"{Path(row['path']).stem}.*")))
        assert transcribe(batch, path) == transcribe(long, path)


@pytest.mark.parametrize("processes", [1, 2])
def test_of_a_large_batch_the_words_of_a_sample_are_heard(tmp_path, processes):
    path, text = clean("flite:awb")
    rows = [said(text, path, name) for name in ("a", "b", "c")] + [said("", path, "d")]
    write_manifest(tmp_path / "l.jsonl", rows)
    settings = EvaluateSettings(metrics=["loudness", "wer"], wer_sample=2)
    bound = sorted(draw(name, 0) for name in ("a", "b", "c"))[1]
    job = Job(tmp_path / "store", threads=processes)
    (tmp_path / "t.txt").write_text(text)
    evaluate.run(
        tmp_path / "l.jsonl", tmp_path / "e.jsonl", settings, job, sentences=tmp_path / "t.txt", words_below=bound
    )
    out = {item.id: item for item in read_manifest(tmp_path / "e.jsonl")}
    assert list(out) == ["a", "b", "c", "d"] and all("lufs" in (item.metrics or {}) for item in out.values())
    heard = {name for name, item in out.items() if "wer" in (item.metrics or {})}
    assert heard == {name for name in "abc" if draw(name, 0) <= bound} and len(heard) == 2
    (left,) = {"a", "b", "c"} - heard
    assert "not in the sample of 2 recordings" in out[left].missing["wer"]
    assert out["d"].missing["wer"] == "no transcript (transcripts)"


def test_the_words_of_a_recording_do_not_depend_on_those_before_it(batch):
    """Noisy, short and mostly wrong: what the decoder remembers of one recording would show in the next."""
    row = next(iter(pilot().values()))
    signal, rate = sf.read(
        next((PILOT / "input" / row["path"]).parent.glob(f"{Path(row['path']).stem}.*")), always_2d=True
    )
    mono = soxr.resample(signal.mean(axis=1), rate, RATE)[: 2 * RATE]
    rng = np.random.default_rng(0)
    takes = [
        (np.roll(mono, 3000 * turn) + 0.02 * rng.standard_normal(len(mono))).astype(np.float32) for turn in range(8)
    ]
    first = [batch(take) for take in takes]
    assert [batch(take) for take in reversed(takes)] == first[::-1]
