"""Text that shall stay text in Markdown."""

from __future__ import annotations

import re

#: What Markdown would take for markup: anywhere in a line, and at its start.
_MARKUP = re.compile(r"([\\`*_{}\[\]()!|~$]|(?<=\d)\.(?=\s)|^[#+-])")


def markdown_text(value: object) -> str:
    """Escape a value so that Markdown shows it as it is, on one line: no markup, no HTML, no border of a table."""
    line = " ".join(str(value).split())
    # HTML's own signs as entities: a reader of Markdown that lets HTML through must not find any.
    return _MARKUP.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
