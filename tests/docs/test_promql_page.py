"""The page of PromQL forms matches the specification of the reader."""

from __future__ import annotations

import os

from tests.docs.promql_page import PAGE, page


def test_page_of_promql_forms_is_up_to_date() -> None:
    if os.environ.get("SLO_TEST_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "write it anew with SLO_TEST_WRITE_DOCS=1"


def test_page_shows_every_form_with_its_reason() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| ")]
    assert sum(not row.startswith("| form |") for row in rows) >= 200
    assert all(line.count(" | ") == 2 and not line.endswith("|  |") for line in rows if "\\|" not in line)
