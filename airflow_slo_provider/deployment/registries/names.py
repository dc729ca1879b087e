"""Alias names and constants shared by all registries. Imported with every DAG file that promotes a model: no heavy imports."""

from __future__ import annotations

CHAMPION, PREVIOUS = "champion", "previous_champion"
PROMOTE, ROLLBACK = "promote", "rollback"
#: Value of ``expected`` if any version may serve now.
ANY = "*"
#: Value of ``expected`` if no version may serve yet.
NONE = ""
