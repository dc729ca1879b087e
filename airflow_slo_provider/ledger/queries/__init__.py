"""Queries for the SLO pages: newest checks, histories, changes."""
