"""Block downstream tasks of a gate, and check the gate before a task that changes something."""
