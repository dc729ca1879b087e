"""Evaluate error budgets in a task or a trigger, and remember decisions."""
