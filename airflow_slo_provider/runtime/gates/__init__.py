"""Gates: which tasks they block, and whether an acting task may run."""
