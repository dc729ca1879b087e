"""Write ``docs/reference/promql.md`` from the specification of the reader."""

from __future__ import annotations

import re

from airflow_slo_provider.slo.promql.query_roles import read_counts, read_ratio
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from tests.support import REPO
from tests.unit.slo.promql_forms import FORMS

PAGE = REPO / "docs" / "reference" / "promql.md"
HEAD = """# PromQL

Forms of the queries of a ratio metric, with what each measures or why it is refused. `airflow slo validate`, gates and
`airflow slo rules` read queries in one way, from their syntax, and refuse for the same reason. *Counts* are numbers
of events: limits such as `min-events` apply to them. Of a *ratio* only the quotient is known. Every accepted form is
measured on a real Prometheus by the tests.

`bad` is sloth's `error_query`, `raw` its `error_ratio_query`. `raw` in these tables is a share of good events, unless
`rawType: failure` says otherwise. A *point* is the value at one time of a subquery such as `[{{.window}}:1m]`. A *made-up*
number, such as that of `vector(0)`, is returned although no series exists.

Other queries are accepted if it follows from their syntax that they count events, or that both apply the same functions
over the same window and offset. A query that cannot be parsed, such as one in MetricsQL, is refused unless the document
has the annotation `airflow-slo/counts: "events"`.

Two things are asked of the server, because the syntax cannot show them. Where both sides of `a or b` have series in the
window, or a join or condition reads a metric that some of the series no longer have, events would be lost: the result is
then unknown, and the message says what to write.

This page is generated: `SLO_TEST_WRITE_DOCS=1 python -m pytest tests/docs/test_promql_page.py` writes it anew.

"""


def page() -> str:
    """Return the page."""
    accepted = [(name, queries, f"{kind}: {text}") for name, queries, kind, text in FORMS if kind]
    refused = [(name, queries, reason(queries)) for name, queries, kind, _ in FORMS if not kind]
    return (
        f"{HEAD}## Accepted forms\n\n{len(accepted)} forms.\n\n{_tables('meaning', accepted)}\n"
        f"## Refused forms\n\n{len(refused)} forms.\n\n{_tables('reason', refused)}"
    )


def topic(queries: dict[str, str]) -> str:
    """Return the heading that a form stands under."""
    text = " ".join(queries.values())
    if re.search(r"_bucket|histogram", text):
        return "Latency and histograms"
    if re.search(r"\}\}\s*:|_over_time\(", text):
        return "Points and samples: probes, gauges, thresholds"
    if re.search(r"\b(vector|absent|or|and|unless)\b", text):
        return "Missing series, `or` and conditions"
    return "Raw ratios" if "raw" in queries else "Counters"


def _tables(last: str, rows: list[tuple[str, dict[str, str], str]]) -> str:
    topics = sorted({topic(queries) for _, queries, _ in rows})
    return "\n".join(f"### {title}\n\n{_table(last, [row for row in rows if topic(row[1]) == title])}" for title in topics)


def reason(queries: dict[str, str]) -> str:
    """Return why queries are refused."""
    try:
        if "raw" in queries:
            read_ratio(queries["raw"], failure=False)
        else:
            read_counts(queries.get("good"), queries.get("bad"), queries["total"], counter=True)
    except RefusedQuery as error:
        return str(error)
    raise AssertionError(f"accepted: {queries}")


def _table(last: str, rows: list[tuple[str, dict[str, str], str]]) -> str:
    lines = [f"| form | queries | {last} |", "|---|---|---|"]
    for name, queries, text in rows:
        shown = "<br>".join(f"{role}: {_code(query)}" for role, query in queries.items())
        lines.append(f"| {_escape(name)} | {shown} | {_escape(text)} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    mark = "``" if "`" in text else "`"
    space = " " if "`" in text else ""
    return f"{mark}{space}{text}{space}{mark}".replace("|", "\\|")


def _escape(text: str) -> str:
    """Escape what Markdown would read as markup; code in backticks is left as it is."""
    parts = " ".join(text.split()).split("`")
    for index in range(0, len(parts), 2):
        for character in "\\*_<[":
            parts[index] = parts[index].replace(character, f"\\{character}")
    return "`".join(parts).replace("|", "\\|")
