"""Triggers: the asynchronous part of deferrable sensors and operators, and event triggers for asset watchers."""
