"""The blind listening test: one HTML file with ABX trials and a MUSHRA-style rating of the snippets, and nothing beside it.

ABX: X is one of two versions, and the listener says which; the p-value is the exact one-sided binomial test against guessing. MUSHRA
(after ITU-R BS.1534): each version is rated from 0 to 100 beside the open reference, the hidden reference among them. Which version is
which stands in no element of the page. Answers are collected in the browser and exported as CSV; nothing is sent anywhere.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from audiorestorer.report.listening import Player, template


def page(players: Sequence[Player], *, title: str) -> str:
    """The page as HTML text; files with fewer than two versions are left out."""
    items: list[dict[str, Any]] = [
        {
            "file": player.file,
            "versions": [
                {"name": version.name, "label": version.label, "audio": base64.b64encode(version.audio).decode()}
                for version in player.versions
            ],
        }
        for player in players
        if len(player.versions) > 1
    ]
    return template("blind.html.j2").render(items=items, title=title)
