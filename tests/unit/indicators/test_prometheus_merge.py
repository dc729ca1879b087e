from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.merged_queries import duration, format_count, merge_counts
from airflow_slo_provider.indicators.prometheus.query_batches import add_series
from airflow_slo_provider.slo.promql import selectors as promql
from airflow_slo_provider.slo.promql.selectors import Count, Matcher, Selector
from airflow_slo_provider.slo.promql.syntax_tree import parse, series_of

HOUR = 3_600_000


def count(*matchers: tuple[str, str, str], name: str = "x_total", function: str = "increase") -> Count:
    return Count(function, Selector(name, tuple(sorted((Matcher(*item) for item in matchers), key=str))))


def queries(counts: list[Count]) -> list[str]:
    return [merged.query for merged, _ in merge_counts(counts, HOUR)]


def test_counts_of_many_services_merge_into_one_query() -> None:
    counts = []
    for number in range(100):
        pin = ("service", "=", f"s{number:03}")
        counts += [count(pin), count(pin, ("code", "!~", "5.."))]
    (query,) = queries(counts)
    assert query.startswith('sum by (code,service) (increase(x_total{service=~"s000|s001|')
    assert query.endswith('|s099"}[1h]))')


def test_single_count_keeps_its_query() -> None:
    assert queries([count(("service", "=", "a"))]) == ['sum(increase(x_total{service="a"}[1h]))']


def test_merged_query_alternates_one_label_only() -> None:
    found = queries([count(("job", "=", job), ("service", "=", s)) for job, s in (("j", "a"), ("j", "b"), ("k", "c"))])
    assert sorted(found) == [
        'sum by (service) (increase(x_total{job="j",service=~"a|b"}[1h]))',
        'sum(increase(x_total{job="k",service="c"}[1h]))',
    ]


def test_counts_of_different_metrics_or_functions_are_not_merged() -> None:
    assert len(queries([count(), count(name="y_total"), count(function="sum_over_time")])) == 3


def test_merged_query_escapes_alternated_values() -> None:
    (query,) = queries([count(("path", "=", "/a.b")), count(("path", "=", "x|y"))])
    assert query == 'sum by (path) (increase(x_total{path=~"/a\\\\.b|x\\\\|y"}[1h]))'


def test_long_alternation_is_split() -> None:
    found = merge_counts([count(("service", "=", f"s{n}")) for n in range(450)], HOUR)
    assert [len(members) for _, members in found] == [200, 200, 50]


def test_merged_query_groups_by_at_most_four_labels() -> None:
    counts = [count(), *(count((f"label{n}", "=", "v")) for n in range(9))]
    for merged, _ in merge_counts(counts, HOUR):
        assert len(merged.labels) <= 4


def test_assign_refuses_rows_that_do_not_match_the_query() -> None:
    ((merged, members),) = merge_counts([count(("s", "=", "a")), count(("s", "=", "b"))], HOUR)
    for rows in ([({"other": "a"}, {})], [({"s": "a"}, {}), ({"s": "a"}, {})], [({"s": "a\nb"}, {})]):
        with pytest.raises(QueryError) as caught:
            merged.assign(rows, members)
        assert caught.value.reason == "unmergeable"


def test_durations_and_counts_are_formatted_for_promql() -> None:
    assert duration(30 * 24 * HOUR) == "30d"
    assert duration(90_500) == "90500ms"
    assert format_count("increase", "x", HOUR) == "sum(increase(x[1h]))"
    assert format_count("sum_over_time", "x", HOUR) == "sum(sum_over_time(x[3599999ms]))"


LABELS = {"service": ["a", "b", "a.b", "axb", "x|y"], "code": ["", "200", "500", "503"], "zone": ["", "z1", "z2"]}
VALUES = st.sampled_from(sorted({text for texts in LABELS.values() for text in texts}))
MATCHERS = st.builds(
    Matcher,
    st.sampled_from(sorted(LABELS)),
    st.sampled_from(["=", "=", "=", "!="]),
    VALUES,
) | st.builds(
    Matcher,
    st.sampled_from(sorted(LABELS)),
    st.sampled_from(["=~", "!~"]),
    st.sampled_from(["5..", "a|b", "a.b", ".*", ".+", "z1|"]),
)
COUNTS = st.lists(MATCHERS, max_size=3, unique=True).map(
    lambda items: Count("increase", Selector("x_total", tuple(sorted(items, key=lambda m: (m.label, m.op, m.value)))))
)
SERIES = [
    {name: text for name, text in (("service", s), ("code", c), ("zone", z)) if text}
    for s in LABELS["service"]
    for c in LABELS["code"]
    for z in LABELS["zone"]
]


@settings(max_examples=300, deadline=None)
@given(st.lists(COUNTS, min_size=1, max_size=12))
def test_merged_queries_equal_single_queries_and_read_no_other_series(counts: list[Count]) -> None:
    """Every count gets what it would have got alone; the queries select the union of what the counts select."""
    answers: dict[Count, Fraction | None] = {}
    wanted, read = set(), set()
    for merged, members in merge_counts(counts, HOUR):
        inner = merged.query[merged.query.index("increase(") + len("increase(") : merged.query.rindex("[")]
        (selector,) = promql.selectors(series_of(parse(inner))) or ()
        chosen = [n for n, labels in enumerate(SERIES) if all(m.matches(labels.get(m.label, "")) for m in selector.matchers)]
        read.update(chosen)
        grouped: dict[tuple[tuple[str, str], ...], Fraction] = {}
        for n in chosen:
            key = tuple((name, SERIES[n][name]) for name in sorted(merged.labels) if name in SERIES[n])
            grouped[key] = grouped.get(key, Fraction(0)) + 2**n
        rows = [(dict(key), {0: value}) for key, value in grouped.items()]
        for member, assign in zip(members, merged.assign(rows, members), strict=True):
            assert member not in answers
            answers[member] = add_series([points for _, points in assign])[0] if assign else None  # type: ignore[assignment]
    for item in counts:
        alone = [n for n, labels in enumerate(SERIES) if all(m.matches(labels.get(m.label, "")) for m in item.selector.matchers)]
        wanted.update(alone)
        assert answers[item] == (sum(2**n for n in alone) if alone else None)
    assert read == wanted
