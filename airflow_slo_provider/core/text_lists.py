"""Convert parameters that accept one text or several; a single text is not split into its letters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def text_list(values: str | Iterable[T] | None) -> tuple[T, ...]:
    """Return one or several values as a tuple.

    :param values: a text, several values, or None for none
    :raises TypeError: for any other type
    """
    if values is None:
        return ()
    if isinstance(values, str):
        return (values,)  # type: ignore[return-value]
    if isinstance(values, bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{values!r} is a {type(values).__name__}; write a text, or a list of texts")
    return tuple(values)
