"""Evaluate error budgets in tasks and triggers, and read earlier decisions."""
