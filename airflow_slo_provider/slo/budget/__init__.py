"""Compute error budgets: arithmetic, windows, status, and the monitor that measures them."""
