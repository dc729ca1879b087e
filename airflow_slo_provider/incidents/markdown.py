"""Escape text for Markdown."""

from __future__ import annotations

import re

#: Characters that Markdown reads as markup: anywhere in a line, and at its start.
_MARKUP = re.compile(r"([\\`*_{}\[\]()!|~$]|(?<=\d)\.(?=\s)|^[#+-])")


def markdown_text(value: object) -> str:
    """Escape a value so that Markdown shows it literally on one line: no markup, no HTML, no table border."""
    line = " ".join(str(value).split())
    # HTML characters become entities, since some Markdown renderers pass HTML through.
    return _MARKUP.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
