"""Links between pages and to files of the repository are valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, anchors_of, links_of
from tests.support import REPO


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_point_to_existing_files_and_headings(page: Path) -> None:
    wrong = []
    for line, target in links_of(page):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            wrong.append(f"{page.name}:{line}: {path} does not exist")
        elif anchor and anchor not in anchors_of(there):
            wrong.append(f"{page.name}:{line}: {there.name} has no heading #{anchor}; it has {sorted(anchors_of(there))}")
    assert not wrong
