"""Every value of every kind of document, replaced by what it should not be: always a catalog or faults, never another error."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_slo_provider.documents.nodes import compose, plain_value
from airflow_slo_provider.slo.documents.document_files import read
from airflow_slo_provider.slo.documents.policy_reader import __doc__ as POLICY_DOC
from airflow_slo_provider.slo.export.prometheus_rules import rules
from tests.unit.slo import documents, test_slo_generator, test_sloth
from tests.unit.slo.documents import SLO_TEXT, changed, joined

RICH = changed(
    changed(SLO_TEXT, "duration: 30d\n      isRolling: true", documents.CALENDAR),
    "    - target: 0.999\n",
    "    - displayName: main\n      targetPercent: 99.9\n      timeSliceTarget: 0.9\n      timeSliceWindow: 5m\n"
    "      compositeWeight: 1\n  alertPolicies:\n    - alertPolicyRef: fast\n",
).replace("Occurrences", "Timeslices")
THRESHOLD = documents.SLO_TEXT.replace(
    documents.INLINE, "  indicatorRef: latency\n"
).replace("target: 0.999", "target: 0.999\n      op: lte\n      value: 0.25").replace("checkout", "quick")  # fmt: skip
ANNOTATED = documents.annotated("airflow-slo/min-events: '5'").replace("checkout", "annotated")
_EXAMPLE = POLICY_DOC or ""
POLICY = "\n".join(line[4:] for line in _EXAMPLE[_EXAMPLE.index("    apiVersion") : _EXAMPLE.index("``op`` is")].splitlines())
ALL = joined(
    RICH,
    THRESHOLD,
    ANNOTATED,
    documents.SERVICE_TEXT,
    documents.SOURCE_TEXT,
    documents.INDICATOR_TEXT,
    documents.ALERTS_TEXT,
    POLICY,
    test_sloth.TEXT,
    test_sloth.KUBERNETES,
    test_slo_generator.TEXT,
)
DOCUMENTS = [plain_value(node) for node in compose(ALL)[0]]
#: What each SLO is while nothing is changed; its rules need not be written again and again, they depend on nothing else.
UNCHANGED = read(ALL).catalog.slos
ODD: list[Any] = [
    None,
    "",
    " ",
    "x",
    "é\n",
    -1,
    0,
    1.5,
    10**29,
    True,
    [],
    {},
    [None],
    [[]],
    [{}],
    {"": None},
    {"a": {"b": []}},
    "{{.window}}",
]


def written(documents: list[Any]) -> str:
    return "\n---\n".join(json.dumps(document) for document in documents) + "\n"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_unchanged_documents_load() -> None:
    reading = read(ALL)
    assert reading.faults == []
    assert read(written(DOCUMENTS)).faults == []
    assert read(written(DOCUMENTS)).catalog.slos == UNCHANGED
    assert rules(reading.catalog)
    assert {document.get("kind", "sloth") for document in DOCUMENTS} == {
        "SLO", "Service", "DataSource", "SLI", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "ErrorBudgetPolicy",
        "sloth", "PrometheusServiceLevel", "ServiceLevelObjective",
    }  # fmt: skip


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_any_odd_value_is_read_or_reported(number: int, alone: bool) -> None:
    for path in places(DOCUMENTS[number]):
        for value in ODD if alone else ODD[::6]:
            document = copy.deepcopy(DOCUMENTS[number])
            at(document, path[:-1])[path[-1]] = value
            others = [] if alone else [other for index, other in enumerate(DOCUMENTS) if index != number]
            reading = read(written([document, *others]))
            assert (reading.catalog is None) == bool(reading.faults), path
            if reading.catalog is not None:
                rules(reading.catalog, select=lambda slo: slo not in UNCHANGED)


FREE = {"labels", "annotations", "connectionDetails", "metadata"}


@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_misspelt_key_is_an_error_with_suggestion(number: int) -> None:
    tried = 0
    for path in places(DOCUMENTS[number]):
        key = path[-1]
        if not isinstance(key, str) or len(key) < 4 or set(path[:-1]) & FREE:
            continue
        documents = copy.deepcopy(DOCUMENTS)
        owner = at(documents[number], path[:-1])
        owner[key[:-2] + key[-1] + key[-2] + "x"] = owner.pop(key)
        found = [str(fault) for fault in read(written(documents)).faults]
        assert any("did you mean" in fault or "is required" in fault or "known here" in fault for fault in found), (path, found)
        tried += 1
    assert tried >= 2


@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_any_missing_key_is_read_or_reported(number: int) -> None:
    for path in places(DOCUMENTS[number]):
        documents = copy.deepcopy(DOCUMENTS)
        del at(documents[number], path[:-1])[path[-1]]
        reading = read(written(documents))
        assert (reading.catalog is None) == bool(reading.faults), path
