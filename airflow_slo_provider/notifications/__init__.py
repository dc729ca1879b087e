"""Notifications: who is told, and what."""
