"""Tables for logs and terminals."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int]) -> str:
    """Write rows under a head, in columns as wide as what they hold.

    :param left: the columns that hold text; the others hold numbers and stand at the right
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    lines = (
        [cell.ljust(width) if n in left else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in (head, rule, *rows)
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def printable(words: str, instead: str = "?") -> str:
    """Replace what a terminal would not show as a sign, such as the start of a colour."""
    return "".join(sign if sign.isprintable() else instead for sign in words)
