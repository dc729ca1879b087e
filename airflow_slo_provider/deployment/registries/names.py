"""Aliases and words that all registries share. Read with every DAG file that promotes a model: nothing heavy here."""

from __future__ import annotations

CHAMPION, PREVIOUS = "champion", "previous_champion"
PROMOTE, ROLLBACK = "promote", "rollback"
#: What ``expected`` says when any version may serve now.
ANY = "*"
#: What ``expected`` says when no version may serve yet.
NONE = ""
