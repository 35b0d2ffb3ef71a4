"""No name reaches a shell unquoted: every rule's command, formatted by snakemake with hostile values, is read back by bash itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from snakemake.utils import format as snakemake_format

ROOT = Path(__file__).parents[2]
FIELD = re.compile(r"(?<!\{)\{([a-z_.]+(?:\[[^]]*\])?)(:[a-z]+)?\}(?!\})")
NUMBERS = {
    "threads",
    "wildcards.shard",
    "wildcards.seed",
    "params.rate",
    "params.nfe",
    "params.tol",
}  # digits by constraint, by the config's types or by a constant of the rules
# what bash runs instead of the rules' programs: each argument in turn, ended by NUL; nothing is written or executed
STUBS = """
python() { printf '%s\\0' "$@"; }
sh() { printf '%s\\0' "$@" "$AUDIORESTORER_METRICS"; }
tee() { cat; printf '%s\\0' "$@"; }
test() { printf '%s\\0' "$@"; return 1; }
cp() { printf '%s\\0' "$@"; }
tar() { printf '%s\\0' "$@"; }
"""
ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
SPECIAL = [
    "$(touch pwned)", "`touch pwned`", "a b", "'", '"', "\\", "\n", "-rf", "--help", ";touch pwned", "&", "|", ">pwned", "$HOME",
    "~", "*", "{shard}", "{input}", "{{", "}", "#", "!x", "\u202egpj", "e\u0301", "'\"'\"'$(touch pwned)",
]  # fmt: skip


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The shell command of every rule of the workflow, by name."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

    folder = tmp_path_factory.mktemp("rules")
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1), snakefile=ROOT / "Snakefile", workdir=folder,
            config_settings=ConfigSettings(config={"artifacts": str(folder / "artifacts")}),
        )  # fmt: skip
        return {rule.name: rule.shellcmd for rule in workflow._workflow.rules if rule.shellcmd}


class Values:
    """Any attribute or key gives the same text; `{x:q}` formats it as snakemake does."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __getattr__(self, name: str) -> str:
        return self._text

    def __getitem__(self, name: Any) -> str:
        return self._text


def rendered(command: str, text: str) -> tuple[str, int]:
    """The command with `text` in every quoted field and 7 in every number, and how many quoted fields there were."""
    fields = [match.group(1) for match in FIELD.finditer(command)]
    values: dict[str, Any] = {name: Values(text) for name in ("input", "output", "params", "wildcards")}
    plain = {field.partition(".")[0] for field in fields if "." not in field and "[" not in field}
    values |= dict.fromkeys(plain, text) | {"threads": 7}
    for number in NUMBERS & set(fields) - {"threads"}:
        command = command.replace(f"{{{number}}}", "7")
    return snakemake_format(command, **values), sum(field not in NUMBERS for field in fields)


def test_there_are_commands(commands: dict[str, str]) -> None:
    assert len(commands) >= 25 and all(
        re.search(r'sh "\$AUDIORESTORER_PYTHON" |\btar ', command) for command in commands.values()
    )


def test_every_field_of_every_command_is_quoted(commands: dict[str, str]) -> None:
    for rule, command in commands.items():
        for match in FIELD.finditer(command):
            assert match.group(1) in NUMBERS or match.group(2) == ":q", f"rule {rule}: {match.group(0)} without :q"


def test_a_field_that_is_not_quoted_would_be_noticed() -> None:
    command, fields = rendered("python x {input.a} {params.b:q}", "$(echo pwned)")
    assert words_of(command).count("$(echo pwned)") < fields


def words_of(command: str) -> list[str]:
    """The arguments that bash gives to the programs of a command."""
    done = subprocess.run(["bash", "-c", STUBS + command], capture_output=True, cwd="/", timeout=60, check=True)
    return done.stdout.decode().split("\0")


@settings(max_examples=40, deadline=None)
@given(text=ANY_TEXT | st.sampled_from(SPECIAL))
@example(text="$(touch pwned)'\"\n-- {shard} `id` ;\\")
def test_hostile_text_comes_back_from_bash_as_one_word(commands: dict[str, str], text: str) -> None:
    pairs = [rendered(command, text) for command in commands.values()]
    # one shell for all rules: what a rule ends its line with cannot reach into the next
    words = words_of("\n".join(f"( {command} )" for command, _ in pairs))
    own = sum(
        re.split(r"[\s\"()]+", command).count(text) for command in commands.values()
    )  # `folder` is a word of a command
    assert sum(count for _, count in pairs) <= words.count(text) <= sum(count for _, count in pairs) + own
