"""Queries of the SLO pages: newest checks, histories, changes."""
