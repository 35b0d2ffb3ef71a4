from pathlib import Path

import pytest
import yaml
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from audiorestorer import config
from audiorestorer.commands import setup
from audiorestorer.errors import AudioRestorerError
from audiorestorer.training.enhancer.settings import STAGES
from audiorestorer.training.fusion import FusionSettings
from audiorestorer.training.fusion import load_settings as load_fusion_settings
from audiorestorer.training.settings import TrainSettings

ROOT = Path(__file__).parents[1]
PRESETS = sorted(
    set((ROOT / "config").glob("*.yaml")) - {ROOT / "config" / name for name in ("models.yaml", "config.schema.yaml")}
)


def test_config_yaml_is_what_config_py_says():
    text = (ROOT / "config/config.yaml").read_text()
    assert text == config.default_yaml(), "run: python -m audiorestorer config config/config.yaml"
    assert config.validate(config.Config, yaml.safe_load(text), "config.yaml") == config.Config()


def test_the_schema_is_what_config_py_says():
    path = ROOT / "config/config.schema.yaml"
    assert path.read_text() == config.schema_yaml(), f"run: python -m audiorestorer config --as schema {path}"


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.name)
def test_editors_and_snakemake_take_our_files_by_the_schema(path):
    """Snakemake's own check with a schema; a run has ours, whose messages are better, in a quarter of the time."""
    assert path.read_text().startswith("# yaml-language-server: $schema=config.schema.yaml\n")
    validate(yaml.safe_load(path.read_text()), ROOT / "config/config.schema.yaml")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"separatorz": []}, "'separatorz' was unexpected"),
        ({"fuse": {"powr": 1}}, "'powr' was unexpected"),
        ({"shards": "many"}, "'many' is not valid"),
        ({"loudness": {"target_lufs": "loud"}}, "'loud' is not"),
    ],
)
def test_the_schema_refuses_unknown_keys_and_wrong_values(changed, said):
    with pytest.raises(WorkflowError, match=said):
        validate(changed, ROOT / "config/config.schema.yaml")


def test_a_configuration_names_the_schema_where_one_lies_beside_it(tmp_path):
    written = tmp_path / "my.yaml"
    setup.write_config(written, "config")
    assert "$schema" not in written.read_text() and [*tmp_path.iterdir()] == [written]
    schema = tmp_path / "config.schema.yaml"
    schema.write_text("title: another workflow's\n")
    setup.write_config(written, "config")
    assert "$schema" not in written.read_text() and schema.read_text() == "title: another workflow's\n"
    schema.write_text(config.schema_yaml() + "old: true\n")
    setup.write_config(written, "config")
    assert written.read_text() == config.default_yaml() and schema.read_text() == config.schema_yaml()


@pytest.mark.parametrize("kind", ["experiment", "enhancer-experiment", "fusion-experiment"])
def test_the_reference_of_experiment_files_is_what_their_settings_say(kind):
    path = ROOT / f"config/reference/{kind.replace('-', '_')}.yaml"
    assert path.read_text() == setup.REFERENCES[kind](), f"run: python -m audiorestorer config {path} --as {kind}"
    models = {"experiment": [TrainSettings], "fusion-experiment": [FusionSettings]}.get(kind, list(STAGES.values()))
    for number, document in enumerate(yaml.safe_load_all(path.read_text())):
        config.validate(models[number], document, str(path))


def test_the_pilots_fusion_experiment_is_valid():
    settings = load_fusion_settings(ROOT / "config/experiments/pilot_fusion.yaml")
    registry = config.read_yaml(ROOT / "config/models.yaml")["models"]
    assert set(settings.sources) <= registry.keys()


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.name)
def test_shipped_configs_are_valid(path):
    config.validate(config.Config, config.read_yaml(path), str(path))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"postmask": {"betta": 1}}, r"postmask\.betta: unknown key; did you mean 'beta'"),
        ({"enhancer": {"data": "voices"}}, "enhancer: unknown key; did you mean 'enhancer_training'"),
        ({"separatorz": []}, "separatorz: unknown key; did you mean 'separators'"),
        ({"separators": [{"name": "a", "model": "m", "overlap": 1.0}]}, r"separators\.0\.overlap: .*less than 1"),
        ({"separators": [{"name": "a", "model": "m", "overlop": 0.1}]}, "did you mean 'overlap'"),
        ({"separators": [{"name": "a", "model": "m"}] * 2}, "same name"),
        ({"separators": [{"name": "../a", "model": "m"}]}, r"separators\.0\.name"),
        ({"fuse": {"hop_length": 1500}}, "must divide"),
        ({"denoise": {"wet": "loud"}}, r"denoise\.wet"),
        ({"loudness": {"target_lufs": float("nan")}}, r"loudness\.target_lufs"),
        ({"shards": 0}, "shards"),
        ({"device": "cuda; rm -rf /"}, "device"),
    ],
)
def test_wrong_configs_name_the_key(values, message):
    with pytest.raises(AudioRestorerError, match=message):
        config.validate(config.Config, values, "cfg")


def test_inline_json_and_files(tmp_path):
    assert config.load(config.PostmaskSettings, '{"beta": 2}').beta == 2
    (tmp_path / "c.yaml").write_text("beta: 2\n")
    assert config.load(config.PostmaskSettings, str(tmp_path / "c.yaml")).beta == 2
    with pytest.raises(AudioRestorerError, match="not valid JSON"):
        config.load(config.PostmaskSettings, '{"beta"')
    with pytest.raises(AudioRestorerError, match="cannot read"):
        config.load(config.PostmaskSettings, str(tmp_path / "none.yaml"))


def test_flac_cannot_hold_float():
    with pytest.raises(AudioRestorerError, match="FLAC has no FLOAT"):
        config.validate(config.Config, {"loudness": {"format": "flac", "subtype": "FLOAT"}}, "config")
