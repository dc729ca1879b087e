"""Fixtures that start real servers."""

from __future__ import annotations

from tests.services.postgres import postgres, postgres_database

__all__ = ["postgres", "postgres_database"]
