"""Triggers: the asynchronous halves of sensors and operators."""
