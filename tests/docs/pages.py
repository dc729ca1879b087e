"""Read the documentation: pages, headings and code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.support import REPO

DOCS = REPO / "docs"
#: Every page of the documentation, and the pages in the root directory.
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
_MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    :param line: of the page, from 1
    :param heading: the heading above it
    """

    page: Path
    line: int
    language: str
    text: str
    heading: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(REPO)}:{self.line}"

    @property
    def file(self) -> str | None:
        """Return the file name in the comment on its first line."""
        named = re.match(r"# ([\w./-]+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    found, heading = [], ""
    tokens = _MARKDOWN.parse(page.read_text(encoding="utf-8"))
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = tokens[number + 1].content
        elif token.type == "fence":
            found.append(Block(page, (token.map or [0])[0] + 1, token.info.strip(), token.content, heading))
    return found


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages in these languages."""
    return [block for page in PAGES for block in blocks_of(page) if block.language in languages]


def links_of(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the target of each link on a page."""
    for token in _MARKDOWN.parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == "link_open":
                yield (token.map or [0])[0] + 1, str(child.attrGet("href"))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST generate them."""
    tokens = _MARKDOWN.parse(page.read_text(encoding="utf-8"))
    headings = [tokens[number + 1].content for number, token in enumerate(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
