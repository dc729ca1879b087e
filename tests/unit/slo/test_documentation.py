"""What docs/documents.md shows is read as it stands, and its tables name what there is."""

from __future__ import annotations

import re

import pytest

from airflow_slo_provider.slo.documents.metadata import OPTION_KEYS
from airflow_slo_provider.slo.model import Options
from airflow_slo_provider.slo.policy.error_budget_policy import Action, Signal
from tests.support import REPO
from tests.unit.slo.documents import catalog_of, joined

TEXT = (REPO / "docs" / "documents.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_documented_examples_load_without_warning() -> None:
    catalog = catalog_of(joined(*BLOCKS))
    assert catalog.warnings == ()
    slo = catalog["checkout-availability"]
    assert catalog.policy_of(slo).rules[0].action is Action.FREEZE
    assert slo.options == Options(min_events=100, error_budget_policy="gate-promotion")


@pytest.mark.parametrize("word", [*OPTION_KEYS, *Signal, *Action])
def test_documents_page_explains_every_word(word: str) -> None:
    assert f"`{word}`" in TEXT
