"""Run Import Linter with the contracts of pyproject.toml. Its own script cannot start from a path with a space in it."""

from importlinter.cli import lint_imports_command

if __name__ == "__main__":
    lint_imports_command()
