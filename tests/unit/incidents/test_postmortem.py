from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from airflow_slo_provider.incidents import Impact, Incident, PostMortem, StepRecord, StepState
from airflow_slo_provider.incidents.markdown import markdown_text
from airflow_slo_provider.incidents.timeline import offset

T0 = datetime(2026, 11, 24, 5, tzinfo=UTC)
EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "| a | b |",
    "\n# heading\n\n<script>",
    "`code` **bold** ~~gone~~",
    "&lt;script&gt;",
    '" onload="x',
    "<!-- ",
    "\x00\x1b[31m",
]


def post_mortem(text: str) -> PostMortem:
    steps = [
        StepRecord(
            step_id="culprit", phase="diagnosis", action=f"Find {text}", state=StepState.DONE,
            started_at=T0 + timedelta(seconds=5), ended_at=T0 + timedelta(seconds=9),
            message=f"{text} fails", evidence={"version": text, "values": {text: 1.0}},
        ),
        StepRecord(
            step_id="back", phase="mitigation", action="Roll back", state=StepState.DONE, started_at=T0 + timedelta(seconds=10),
            ended_at=T0 + timedelta(seconds=12), message=text, checklist=(f"look at {text}",),
        ),
    ]  # fmt: skip
    incident = Incident(id="x", subject=text, severity="page", started_at=T0, message=text, evidence={"model_version": text})
    return PostMortem(
        incident=incident, severity=text, playbook=text, reasons=[text], steps=steps, ended_at=T0 + timedelta(minutes=2), run=text
    )


class ParsedHTML(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


SHAPE = ParsedHTML(post_mortem("plain").html())
RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
RENDERED = ParsedHTML(RENDERER.render(post_mortem("plain").markdown()))


@pytest.mark.parametrize("text", EVIL)
def test_html_with_any_model_version_contains_no_markup_from_it(text: str):
    found = post_mortem(text)
    page = ParsedHTML(found.html())
    assert (page.tags, page.attributes) == (SHAPE.tags, SHAPE.attributes), "no tag and no attribute but our own"
    rendered = ParsedHTML(RENDERER.render(found.markdown()))  # by a renderer that lets HTML through
    assert (rendered.tags, rendered.attributes) == (RENDERED.tags, RENDERED.attributes)
    said = " ".join(text.replace("\x00", "\ufffd").split())
    assert said in " ".join(rendered.text.replace("\x00", "\ufffd").split())
    assert "<script" not in found.markdown() and "<script" not in found.html()


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_markdown_with_any_text_contains_no_markup_from_it(text: str):
    rendered = ParsedHTML(RENDERER.render(f"- {markdown_text(text)}\n"))
    assert set(rendered.tags) <= {"ul", "li"}


def test_model_version_named_script_is_shown_as_text():
    found = post_mortem("<script>")
    assert "<script>" in ParsedHTML(found.html()).text
    assert "<script>" in ParsedHTML(RENDERER.render(found.markdown())).text


def test_postmortem_shows_timeline_findings_and_open_actions():
    text = post_mortem("v2").markdown()
    for line in (
        "| Start | 2026-11-24 05:00:00 UTC |",
        "| End | 2026-11-24 05:02:00 UTC |",
        "| Duration | 2 min |",
        "| T+00:00:09 | 05:00:09 | diagnosis: Find v2: done \\- v2 fails |".replace("\\-", "-"),
        "- [ ] Roll back: look at v2",
        "- [ ] Root cause, in one sentence",
    ):
        assert line in text, line


def test_rejected_and_unreached_steps_are_action_items():
    steps = [
        StepRecord(step_id="a", phase="mitigation", action="Approve it", state=StepState.REJECTED, ended_at=T0, message="by Ann"),
        StepRecord(step_id="b", phase="mitigation", action="Roll back", state=StepState.NOT_REACHED),
    ]
    found = PostMortem(incident=Incident(id="x", started_at=T0), severity="high", playbook="p", steps=steps)
    assert found.open_actions[0].startswith("Approve it was not approved")
    assert found.open_actions[1].startswith("Roll back: not reached")
    assert "not over, or unknown" in found.markdown()
    assert "mitigation: Approve it: rejected - by Ann" in found.markdown()


def test_unknown_impact_is_not_shown_as_zero():
    assert Impact(problem="no answer").facts == [("Impact", "unknown: no answer")]
    assert Impact().facts == [("Impact", "unknown")]
    facts = dict(Impact(bad_events=12, total_events=4000, budget_spent=0.3, budget_minutes=129.6).facts)
    assert facts == {
        "Error budget spent": "129.6 minutes of complete outage",
        "Share of the error budget": "30.0 %",
        "Requests": "12 of 4,000 went wrong",
    }


@pytest.mark.parametrize(("seconds", "expected"), [(0, "T+00:00:00"), (3725, "T+01:02:05"), (-61, "T-00:01:01")])
def test_offset_formats_seconds_since_start(seconds: int, expected: str):
    assert offset(T0, T0 + timedelta(seconds=seconds)) == expected


def test_step_record_round_trips_through_a_check_result():
    incident = Incident(id="x", started_at=T0)
    (step, _) = post_mortem("v2").steps
    check = step.to_check(incident)
    assert (check.kind, check.name) == ("incident_step", "x/culprit")
    assert StepRecord.from_check(check) == step


def test_long_or_unserialisable_evidence_is_kept_as_text():
    incident = Incident(id="x", started_at=T0)
    for evidence in ("x" * 9000, {"nan": float("nan")}, {"when": T0}):
        step = StepRecord(step_id="a", phase="diagnosis", action="a", state=StepState.DONE, ended_at=T0, evidence=evidence)
        assert len(str(step.to_check(incident).to_dict()["evidence"]["found"])) <= 4100
