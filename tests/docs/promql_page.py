"""Write ``docs/reference/promql.md`` from the specification of the reader."""

from __future__ import annotations

from airflow_slo_provider.slo.promql.query_roles import read_counts, read_ratio
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from tests.support import REPO
from tests.unit.slo.promql_forms import FORMS

PAGE = REPO / "docs" / "reference" / "promql.md"
HEAD = """# PromQL

Forms of the queries of a ratio metric, with what each measures or why it is refused. `airflow slo validate`, gates and
`airflow slo rules` read queries in one way, from their syntax tree, and refuse with the same text. *Counts* are numbers
of events: limits such as `min-events` apply to them. Of a *ratio* only the quotient is known. Every accepted form is
measured on a real Prometheus by the tests.

What is not in these tables is accepted only if its tree proves that it counts events, or that both queries apply the
same functions over the same window and offset. A query that cannot be parsed, such as one in MetricsQL, is refused
unless the document has the annotation `airflow-slo/counts: "events"`.

This page is generated: `SLO_TEST_WRITE_DOCS=1 python -m pytest tests/docs/test_promql_page.py` writes it anew.

"""


def page() -> str:
    """Return the page."""
    accepted = [(name, queries, f"{kind}: {text}") for name, queries, kind, text in FORMS if kind]
    refused = [(name, queries, reason(queries)) for name, queries, kind, _ in FORMS if not kind]
    return (
        f"{HEAD}## Accepted forms\n\n{len(accepted)} forms.\n\n{_table('meaning', accepted)}\n"
        f"## Refused forms\n\n{len(refused)} forms.\n\n{_table('reason', refused)}"
    )


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
