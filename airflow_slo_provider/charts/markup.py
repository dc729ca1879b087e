"""Elements of HTML and SVG as text. Whatever is no markup yet is escaped when it is put into an element."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

#: Elements that hold nothing. All others keep their end tag, also where they are empty.
_EMPTY = frozenset(("br", "circle", "input", "line", "polyline", "rect"))


class Html(str):
    """Text that is markup already: :func:`text` and :func:`tag` do not escape it again, nor do Jinja's templates."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the markup, for templates."""
        return self


def text(value: object) -> Html:
    """Escape a value for HTML text and attributes; markup stays as it is."""
    return value if isinstance(value, Html) else Html(escape(str(value), quote=True))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Put parts one after the other.

    :param parts: markup, or anything else as text
    :param between: text between two of them
    """
    return Html(text(between).join(map(text, parts)))


def tag(name: str, /, *inner: object, **attributes: object) -> Html:
    """Write an element.

    :param name: of the element
    :param inner: what is in it: markup, or anything else as text
    :param attributes: ``class_`` is written as ``class``, ``aria_label`` as ``aria-label``; those that are None are left out, and
        floats are written with one decimal
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{f"{value:.1f}" if isinstance(value, float) else escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}/>" if name in _EMPTY else f"<{name}{said}>{join(inner)}</{name}>")
