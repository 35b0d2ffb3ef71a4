"""The chain: which stages make a recording's result, in their order, and what the workflow must know of each. No torch import.

Everything else follows from this list: the rules in `rules/clean.smk`, their inputs and priorities, what is deleted where
intermediates are not kept, and the sections that the report shows (`audiorestorer.workflow`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiorestorer.config import Config, Settings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.resources import Cost

PACKAGE = Path(__file__).parent
SPEECH_TASKS = ("denoise", "separate")  # networks of either task give speech: each can stand in the other's place


@dataclass(frozen=True)
class ChainStage:
    """One stage of the chain. Its module is `stages/<name>.py`; its command, its rule and its folder of manifests have its name.

    Attributes:
        section: of the configuration, where it is not the name; empty: settings of the top level.
        cost: what a job takes; of a stage that runs a network the registry's entry says it.
        runs_network: its section names a `model` of the registry, and it takes --device and --threads.
        tasks: that such a model may have.
        helper_of: settings -> a model of the registry that it uses without being one of the networks above, or None; of a stage that
            runs a network only where the network's kind asks for it (`HELPERS` of its module).
        helper: the option that names it.
        is_idle: settings -> whether it has nothing to do although `enabled` is not false.
        judges_words: settings -> whether it needs the section's recogniser.
        has_own_rule: its rule is written out in `rules/`; the others' rules are made from this list (`rules/clean.smk`).
    """

    name: str
    section: str | None = None
    cost: Cost | None = None
    runs_network: bool = False
    tasks: Sequence[str] = SPEECH_TASKS
    is_idle: Callable[[Any], bool] = lambda settings: False
    helper_of: Callable[[Any], str | None] = lambda settings: None
    helper: str = "model"
    judges_words: Callable[[Any], bool] = lambda settings: False
    has_own_rule: bool = False

    @property
    def section_name(self) -> str:
        return self.name if self.section is None else self.section


# The order of this list is the order of the work. A stage that is off (`enabled: false`, or idle) is left out.
CHAIN = (
    ChainStage("ingest", cost=Cost(68, channel=0.02), has_own_rule=True),
    # before declick, which takes the corners of clipped waves for clicks: what it mends there is no longer known to be clipped
    ChainStage("declip", cost=Cost(100, channel=0.11)),
    ChainStage("declick", cost=Cost(150, channel=0.02)),
    ChainStage("separate", section="separators", runs_network=True, has_own_rule=True),
    ChainStage(
        "fuse",
        cost=Cost(182, channel=0.01),
        tasks=("fuse",),
        helper_of=lambda settings: settings.model if settings.method == "learned" else None,
    ),
    ChainStage("denoise", runs_network=True, is_idle=lambda settings: settings.model is None),
    # Never idle: a floor of 1 multiplies by 1, but the STFT and its inverse move about one sample in 7,000 by one step of 16 bits, and
    # results stay what they were. `enabled: false` leaves it out.
    ChainStage("postmask", cost=Cost(164, channel=0.01)),
    ChainStage(
        "enhance",
        runs_network=True,
        tasks=("enhance",),
        helper_of=lambda settings: None if settings.denoiser == "auto" else settings.denoiser,
        helper="denoiser",
        judges_words=lambda settings: settings.max_wer is not None and not settings.denoise_only,
    ),
    ChainStage("loudness", cost=Cost(161, channel=0.01)),
    ChainStage("evaluate", has_own_rule=True),
    ChainStage("publish", section="", cost=Cost(100, channel=0.01), has_own_rule=True),
)
FINISHED = "loudness"  # the stage whose files are the results
OTHER_SECTIONS = (
    "snippets",
    "deliver",
    "training",
    "ablation",
    "enhancer_training",
)  # of the configuration, for rules of no stage


def check_chain(
    commands: Collection[str], chain: Sequence[ChainStage] = CHAIN, configuration: type[Settings] = Config
) -> None:
    """Refuse a chain of which a part was forgotten.

    Args:
        commands: the names on the command line.
        configuration: its sections must have defaults.

    Raises:
        AudioRestorerError: a line for each: the file, and what is missing there.
    """
    sections = dict(configuration())
    sections = {name: value for name, value in sections.items() if _is_section(value)}
    missing = [
        f"audiorestorer/chain.py: CHAIN has no stage for the section {name!r} of audiorestorer/config.py"
        for name in sections.keys() - {stage.section_name for stage in chain} - {*OTHER_SECTIONS}
    ]
    for stage in chain:
        section = sections.get(stage.section_name)
        if not (PACKAGE / f"stages/{stage.name}.py").is_file():
            missing.append(f"audiorestorer/stages/{stage.name}.py: missing: CHAIN has the stage {stage.name!r}")
        if stage.section_name and section is None:
            missing.append(f"audiorestorer/config.py: Config has no section {stage.section_name!r}")
        elif stage.runs_network and not stage.has_own_rule and not hasattr(section, "model"):
            missing.append(f"audiorestorer/config.py: the section {stage.section_name!r} names no `model`")
        if stage.cost is None and not stage.runs_network and not stage.has_own_rule:
            missing.append(f"audiorestorer/chain.py: CHAIN: {stage.name!r} has no cost and runs no network")
        if stage.name not in commands:
            missing.append(f"audiorestorer/commands: no command {stage.name!r}, which CHAIN names")
    if [stage.name for stage in chain if not stage.has_own_rule][-1:] != [FINISHED]:
        missing.append(
            f"audiorestorer/chain.py: CHAIN: {FINISHED!r} (FINISHED) is not the last of the stages without a rule of their own"
        )
    if missing:
        raise AudioRestorerError("\n".join(sorted(missing)))


def _is_section(value: Any) -> bool:
    return isinstance(value[0] if isinstance(value, list) and value else value, Settings)
