"""The ablation's sets: equal seeds give equal samples, and what is tested on is nothing that training knows."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets.degradation import ablation_sets as sets
from audiorestorer.datasets.degradation import stand_ins
from audiorestorer.datasets.degradation.degradations import active_level
from audiorestorer.digest import modules_of
from audiorestorer.errors import AudioRestorerError
from tests.clean_speech import clean_speech

ROOT = Path(__file__).parents[2]
RATE = 16_000


@pytest.fixture(scope="module")
def sources() -> list[sets.Source]:
    return sets.pilot(ROOT / "data/pilot", 8, RATE, 7)


def test_training_cannot_reach_the_test_generators() -> None:
    """Nothing that a training imports leads to the held-out family or to the stand-ins'."""
    reached = modules_of("audiorestorer.training.fit")
    assert "audiorestorer.datasets.degradation.degradations" in reached
    for name in ("held_out", "stand_ins", "ablation_sets"):
        assert f"audiorestorer.datasets.degradation.{name}" not in reached


def test_the_three_generators_share_no_artefact() -> None:
    """Of each other they know helpers for levels only; no law, no settings."""
    for name in ("stand_ins", "held_out"):
        text = (ROOT / f"audiorestorer/datasets/degradation/{name}.py").read_text()
        assert "import DegradationSettings" not in text and "dsp.clicks import draw" not in text
    assert "held_out" not in (ROOT / "audiorestorer/datasets/degradation/stand_ins.py").read_text().split('"""')[2]


def test_no_voice_and_no_track_has_two_roles(sources: list[sets.Source]) -> None:
    assert {source.role for source in sources} == set(sets.ROLES)
    assert len({source.id for source in sources}) == len(sources) == 20
    heard = {role: {source.read(RATE).tobytes() for source in sets.of_role(sources, role)} for role in sets.ROLES}
    assert sum(len(content) for content in heard.values()) == len(set.union(*heard.values())) == 20
    voices = dict(sets._voices(ROOT / "data/pilot/transcripts.tsv"))
    roles: dict[str, set[str]] = {}
    for number, voice in enumerate(voices.values()):
        roles.setdefault(voice, set()).add(sources[number].role)
    assert all(len(found) == 1 for found in roles.values()) and roles["flite:awb"] == {"test"}


@pytest.mark.parametrize(("condition", "family"), [("unseen", "held_out"), ("like_real", "stand_in")])
def test_equal_seeds_equal_samples(sources: list[sets.Source], condition: str, family: str) -> None:
    voices = sets.of_role(sources, "test")
    source, made = sets.item_of(voices, condition, 3, 2.0, RATE, 7)
    _, again = sets.item_of(voices, condition, 3, 2.0, RATE, 7)
    _, other = sets.item_of(voices, condition, 3, 2.0, RATE, 8)
    assert source.role == "test" and made.record["family"] == family
    assert made.noisy.tobytes() == again.noisy.tobytes() and made.target.tobytes() == again.target.tobytes()
    assert made.noisy.tobytes() != other.noisy.tobytes()
    assert made.noisy.shape == made.target.shape == (1, 2 * RATE) and np.abs(made.noisy).max() == pytest.approx(0.7)


def test_stand_ins_are_of_their_own_recordings(sources: list[sets.Source]) -> None:
    shelf = sets.of_role(sources, "real")
    first, again, second = (sets.stand_in(shelf, number, RATE, 7) for number in (0, 0, 1))
    assert first.noisy.tobytes() == again.noisy.tobytes() != second.noisy.tobytes()
    assert first.record["family"] == "stand_in" and first.noisy.shape[1] <= 12 * RATE


def test_damage_comes_again_turn_after_turn() -> None:
    clean = clean_speech(RATE)[:, : 12 * RATE]
    made = stand_ins.degrade(clean, RATE, np.random.default_rng(1))
    starts = made.impulses.starts / RATE
    turns = np.abs(starts[:, None] - starts[None] - stand_ins.TURN_SEC) < 1e-3
    assert len(starts) > 20 and turns.any(axis=1).mean() > 0.5
    added = (made.noisy - made.target)[0]
    at = made.impulses.starts[np.abs(made.impulses.amplitudes).argmax()]
    assert np.abs(added[at : at + 60]).max() > 3 * np.std(added)
    assert np.all(np.diff(made.impulses.starts) >= 0)


def test_levels_follow_the_recording() -> None:
    clean = clean_speech(RATE)[:, : 4 * RATE]
    loud, soft = (stand_ins.degrade(clean * gain, RATE, np.random.default_rng(2)).noisy for gain in (1.0, 0.1))
    assert np.allclose(loud, 10 * soft, atol=1e-4)
    assert active_level(loud, RATE) > 0


def test_a_manifest_of_ones_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(20):
        sf.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(2 * 8000), 8000)
        split = "train" if number < 16 else "valid" if number < 18 else "test"
        rows.append(
            f'{{"id": "{number}", "split": "{split}", "clean": "{number}.wav", "noisy": null, "sr": 8000, "duration": 2.0}}\n'
        )
    (tmp_path / "m.jsonl").write_text("".join(rows))
    kept = sets.of_manifest(tmp_path / "m.jsonl", keep_some=True, seed=7)
    roles = {role: {source.id for source in sets.of_role(kept, role)} for role in sets.ROLES}
    assert 1 <= len(roles["real"]) <= 8 and len(roles["train"] | roles["real"]) == 16 and roles["test"] == {"18", "19"}
    assert not sets.of_role(sets.of_manifest(tmp_path / "m.jsonl", keep_some=False, seed=7), "real")
    assert kept[0].read(RATE).shape == (1, 4 * 8000)
    (tmp_path / "m.jsonl").write_text("".join(rows[15:]))
    with pytest.raises(AudioRestorerError, match=r"m\.jsonl: no recording is left for"):
        sets.of_manifest(tmp_path / "m.jsonl", keep_some=True, seed=7)
    with pytest.raises(AudioRestorerError, match="transcripts.tsv"):
        sets.pilot(tmp_path, 8, RATE, 7)
