"""The gate, the exported alert rules and the SLO page fire the same alerts on the same history of a real Prometheus."""

from __future__ import annotations

import json
import random
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.plugins.slo_page.access import ReadableDags
from airflow_slo_provider.plugins.slo_page.slo_details import read_slo
from airflow_slo_provider.slo.budget.ledger_records import slo_checks
from airflow_slo_provider.slo.budget.reports import Status
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.export.prometheus_rules import rules
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Objective, TimeWindow
from airflow_slo_provider.slo.policy.decisions import decide
from tests.services.prometheus_server import running_prometheus
from tests.unit.indicators.prometheus_requests import availability

END = datetime(2026, 11, 1, tzinfo=UTC)
MINUTES = 30 * 1440
#: Events per minute: so many that every share used here is a whole number of them.
EVENTS = 1_000_000
#: Minutes before END at which the counters are scraped. Every window begins and ends at one of them, so ``increase`` is exact.
SCRAPES = sorted({*range(361), *range(360, 4321, 10), *range(4320, MINUTES + 1, 60)}, reverse=True)
WINDOWS, TARGETS = ("1d", "7d", "28d", "30d"), ("0.9", "0.99", "0.999")
#: Severity, share of the budget, long window in minutes.
ALERTS = (("page", "0.02", 60), ("page", "0.05", 360), ("ticket", "0.1", 1440), ("ticket", "0.1", 4320))
COMBINATIONS = [pytest.param(window, target, id=f"{window}-{target}") for window in WINDOWS for target in TARGETS]
LEVELS = ("even_30_percent_of_budget", "at_threshold", "above_threshold", "below_threshold", "random")


@dataclass(frozen=True)
class Story:
    """Bad events per minute: ``steps`` holds (minutes before END until which a rate holds, the rate), newest first."""

    window: str
    target: str
    level: str
    steps: tuple[tuple[int, int], ...]

    @property
    def name(self) -> str:
        return f"s{self.window}-{self.target.replace('.', '-')}-{self.level.replace('_', '-')}"

    def bad(self, minutes: int) -> int:
        """Return the bad events of the last minutes before END."""
        total, newer = 0, 0
        for older, rate in self.steps:
            total += rate * max(0, min(minutes, older) - newer)
            newer = older
        return total

    def burn(self, minutes: int) -> Fraction:
        return Fraction(self.bad(minutes), EVENTS * minutes) / (1 - Fraction(self.target))

    @property
    def length(self) -> int:
        return parse_duration(self.window).timedelta // timedelta(minutes=1)

    def firing(self) -> set[str]:
        """Return the severities that fire, written out from the definition."""
        found = set()
        for severity, share, long in ALERTS:
            if long < self.length:
                factor = max(Fraction(1), Fraction(share) * self.length / long)
                if self.burn(long) > factor and self.burn(long // 12) > factor:
                    found.add(severity)
        return found


def stories() -> Iterator[Story]:
    """Yield the histories of each window and target: even, just around the factor of one rule, and random."""
    chance = random.Random(18)
    for window in WINDOWS:
        length = parse_duration(window).timedelta // timedelta(minutes=1)
        for target in TARGETS:
            budget = 1 - Fraction(target)
            possible = []
            for _, share, long in ALERTS:
                factor = max(Fraction(1), Fraction(share) * length / long)
                if long < length and factor * budget < 1:
                    possible.append((long, factor))
            long, factor = chance.choice(possible)
            limit = factor * budget * EVENTS
            assert limit.denominator == 1
            for level, rate in (("at", 0), ("above", 1), ("below", -1)):
                yield Story(window, target, f"{level}_threshold", ((long, int(limit) + rate), (MINUTES, 0)))
            yield Story(window, target, "even_30_percent_of_budget", ((MINUTES, int(budget * EVENTS * 3 / 10)),))
            # Rates change at scrapes that are no ends of windows as well; none is above what all events can be.
            ends = sorted(chance.sample([minute for minute in SCRAPES if 0 < minute < length], 6))
            steps = [(end, int(budget * EVENTS * Fraction(chance.randrange(4000), 1000))) for end in ends]
            yield Story(window, target, "random", (*steps, (MINUTES, 0)))


def openmetrics(told: list[Story]) -> Iterator[str]:
    yield "# HELP http_requests Requests.\n# TYPE http_requests counter\n"
    for story in told:
        for code in ("200", "500"):
            every = story.bad(MINUTES)
            for minute in SCRAPES:
                bad = every - story.bad(minute)
                value = bad if code == "500" else EVENTS * (MINUTES - minute) - bad
                at = int(END.timestamp()) - minute * 60
                yield f'http_requests_total{{service="{story.name}",code="{code}"}} {value} {at}\n'
    yield "# EOF\n"


@pytest.fixture(scope="module")
def histories() -> dict[tuple[str, str], list[Story]]:
    told = list(stories())
    return {(w, t): [story for story in told if (story.window, story.target) == (w, t)] for w in WINDOWS for t in TARGETS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, histories: dict[tuple[str, str], list[Story]]) -> Iterator[str]:
    told = [story for group in histories.values() for story in group]
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), blocks=openmetrics(told)) as url:
        yield url


def exported(text: str) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """Return the burn alerts of a rule file by SLO and severity, and the remaining budgets, without recorded series."""
    found = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    records = {(rule["record"], rule["labels"]["slo"]): rule["expr"] for rule in found if "record" in rule}
    used = re.compile(r'(slo:[a-z0-9_:]+)\{slo="([^"]+)", slo_service="[^"]+"\}')

    def expanded(expression: str) -> str:
        while used.search(expression):
            expression = used.sub(lambda match: f"({records[match[1], match[2]]})", expression)
        return expression

    alerts = {}
    for rule in found:
        if rule.get("alert", "").endswith("ErrorBudgetBurn"):
            match = used.search(rule["expr"])
            assert match is not None
            alerts[match[2], rule["labels"]["severity"]] = expanded(rule["expr"])
    remaining = {
        name: expanded(expression)
        for (record, name), expression in records.items()
        if record == "slo:period_error_budget_remaining:ratio"
    }
    return alerts, remaining


def query(server: str, expression: str) -> list[float]:
    form = urllib.parse.urlencode({"query": expression, "time": END.timestamp()}).encode()
    with urllib.request.urlopen(f"{server}/api/v1/query", form, timeout=60) as answer:
        return [float(sample["value"][1]) for sample in json.load(answer)["data"]["result"]]


@pytest.mark.parametrize(("window", "target"), COMBINATIONS)
def test_gate_rules_and_page_fire_together(
    server: str, histories: dict[tuple[str, str], list[Story]], tmp_path: Path, window: str, target: str
) -> None:
    told = histories[window, target]
    catalog = SLOCatalog(
        tuple(
            SLO(
                story.name, story.name, availability(story.name, bad=True), TimeWindow(parse_duration(window)),
                BudgetingMethod.OCCURRENCES, (Objective(Fraction(target)),),
            )
            for story in told
        )
    )  # fmt: skip
    decision = decide(PrometheusEvaluator(catalog, server).evaluate(END), catalog)
    reports = {report.name: report for report in decision.reports}
    alerts, remaining = exported(rules(catalog))
    severities = {severity for _, severity in alerts}
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.record(slo_checks(decision), RunKey("dag", "run", "task"))
        pages = {story.name: read_slo(ledger, ReadableDags(frozenset({"dag"}), True), story.name, now=END) for story in told}
    for story in told:
        report, page = reports[story.name], pages[story.name]
        by_gate = {rule.severity for rule in report.firing}
        by_rules = {severity for severity in severities if query(server, alerts[story.name, severity])}
        assert page is not None
        rates = dict(page.slo.burn_rates)
        by_page = {
            severity
            for severity, short, long, factor in page.rules
            if (rates[short] or 0) > factor and (rates[long] or 0) > factor
        }
        assert (by_gate, by_rules, by_page) == (story.firing(),) * 3, (story, report)
        (left,) = query(server, remaining[story.name])
        assert (report.status is Status.EXHAUSTED) == (left <= 0) == (story.burn(story.length) >= 1), story
        assert left == pytest.approx(float(report.remaining), abs=1e-9)
        assert (report.status is Status.BURNING) == (bool(by_gate) and left > 0)
        if story.level == "even_30_percent_of_budget":
            assert report.status is Status.HEALTHY


def test_histories_lie_on_both_sides_of_the_thresholds(histories: dict[tuple[str, str], list[Story]]) -> None:
    told = [story for group in histories.values() for story in group]
    fires = {level: {bool(story.firing()) for story in told if story.level == level} for level in LEVELS}
    assert fires["above_threshold"] == {True}
    assert fires["even_30_percent_of_budget"] == {False}
    assert fires["at_threshold"] == fires["below_threshold"]
    assert False in fires["at_threshold"]
    assert fires["random"] == {True, False}
