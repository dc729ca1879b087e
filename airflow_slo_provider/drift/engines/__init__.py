"""Engines that count rows: this process, a database, Spark."""
