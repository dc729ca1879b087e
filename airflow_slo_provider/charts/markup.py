"""Build HTML and SVG elements as text. Text that is not markup is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

#: Void elements. All others keep their end tag, also when they are empty.
_EMPTY = frozenset(("br", "circle", "input", "line", "polyline", "rect"))


class Html(str):
    """Text that is markup already: :func:`text`, :func:`tag` and Jinja templates do not escape it again."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the markup, for templates."""
        return self


def text(value: object) -> Html:
    """Escape a value for HTML text and attributes; markup stays as it is.

    :param value: markup, or any other value, whose ``str()`` is escaped
    """
    return value if isinstance(value, Html) else Html(escape(str(value), quote=True))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Concatenate parts.

    :param parts: markup, or other values, which are escaped
    :param between: text between two of them
    """
    return Html(text(between).join(map(text, parts)))


def tag(name: str, /, *inner: object, **attributes: object) -> Html:
    """Build an element.

    :param name: name of the element
    :param inner: its contents: markup, or other values, which are escaped
    :param attributes: ``class_`` is written as ``class``, ``aria_label`` as ``aria-label``; None omits an attribute, and floats
        are written with one decimal
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{f"{value:.1f}" if isinstance(value, float) else escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}/>" if name in _EMPTY else f"<{name}{written}>{join(inner)}</{name}>")
