"""Format tables for logs and terminals."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int]) -> str:
    """Format rows below a header, in columns that fit their contents.

    :param left: indexes of the columns that hold text; the other columns hold numbers and are right-aligned
    :param head: the column names
    :param rows: one sequence of texts per row
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    lines = (
        [cell.ljust(width) if n in left else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in (head, rule, *rows)
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def replace_unprintable(words: str, instead: str = "?") -> str:
    """Replace characters that a terminal does not print, such as escape sequences."""
    return "".join(sign if sign.isprintable() else instead for sign in words)
