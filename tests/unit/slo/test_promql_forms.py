"""Every form of the specification is read as it says; also without the parser's help: names are not looked at."""

from __future__ import annotations

import json

import pytest

from airflow_slo_provider.slo.promql.query_roles import Reading, read_counts, read_ratio
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from tests.support import acceptance
from tests.unit.slo.promql_forms import FORMS


def read(queries: dict[str, str]) -> Reading:
    if "raw" in queries:
        return read_ratio(queries["raw"], failure=False)
    return read_counts(queries.get("good"), queries.get("bad"), queries["total"], counter=True)


def test_specification_has_many_forms_with_names_of_their_own() -> None:
    assert len({name for name, *_ in FORMS}) == len(FORMS) >= 120
    assert {kind for _, _, kind, _ in FORMS} == {"counts", "ratio", ""}


@pytest.mark.parametrize(("queries", "kind", "text"), [row[1:] for row in FORMS], ids=[row[0] for row in FORMS])
def test_form_is_read_as_specified(queries: dict[str, str], kind: str, text: str) -> None:
    if kind:
        assert read(queries).counts is (kind == "counts")
    else:
        with pytest.raises(RefusedQuery) as caught:
            read(queries)
        assert text in str(caught.value)
        assert str(caught.value).split(":")[0] in (*queries, str(caught.value))


def test_published_forms_are_accepted_or_refused() -> None:
    forms = json.loads(acceptance("slo", "promql", "forms.json").read_text())["forms"]
    wrong = []
    for form in forms:
        queries = {role: form[role] for role in ("good", "bad", "total", "raw") if role in form}
        try:
            found = read(queries)
        except RefusedQuery:
            found = None
        meant = None if form["expect"] == "refused" else form["meaning"].startswith("counts")
        if meant is not (None if found is None else found.counts):
            wrong.append(form["name"])
    assert not wrong
