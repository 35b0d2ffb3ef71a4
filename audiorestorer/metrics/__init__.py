"""Metrics, one module a task. Functions take arrays and give numbers; what cannot be computed raises `Missing` with the reason."""

from __future__ import annotations


class Missing(Exception):
    """This metric cannot be computed here, for the reason given. Never turned into a zero."""
