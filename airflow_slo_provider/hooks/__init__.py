"""Connections to the systems that numbers come from."""
