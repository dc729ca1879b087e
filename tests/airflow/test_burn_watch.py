"""Looks at SLOs, and the end of them while one hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.incidents.incident_state import BurnState
from airflow_slo_provider.runtime.error_budget import decision as gate
from airflow_slo_provider.runtime.error_budget import indicator_sources as sources
from airflow_slo_provider.runtime.error_budget.burn_watch import BurnWatch, poll_result
from airflow_slo_provider.slo.budget import monitor
from airflow_slo_provider.slo.model import BudgetingMethod
from tests.unit.slo.monitor_builders import AT, MemorySource, catalog, slo, steady


class HangingSources:
    """Documents and a monitor; one of the two does not answer until told, and connections that are counted."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.open = 0
        self.open_while_it_looked: list[int] = []

    def wait(self, where: str) -> None:
        if where == self.where:
            self.reached.set()
            assert self.go_on.wait(20)

    def documents(self, _: Any) -> list[Any]:
        self.wait("documents")
        return []

    @contextmanager
    def sources(self) -> Iterator[None]:
        self.open += 1
        yield
        self.open -= 1

    def evaluate(self, _: Any) -> list[Any]:
        self.wait("monitor")
        self.open_while_it_looked.append(self.open)
        return []


@pytest.mark.parametrize("where", ["documents", "monitor"])
def test_close_during_poll_returns_at_once_and_closes_sources(where, monkeypatch):
    hanging = HangingSources(where)
    monkeypatch.setattr(gate, "read_documents", hanging.documents)
    monkeypatch.setattr(sources, "sources", hanging.sources)
    monkeypatch.setattr(monitor, "SLOMonitor", lambda *_, **__: SimpleNamespace(evaluate=hanging.evaluate))
    watch = BurnWatch("/x")
    found: list[Any] = []
    look = threading.Thread(target=lambda: found.append(watch.poll()), daemon=True)
    look.start()
    assert hanging.reached.wait(20)
    closing = threading.Thread(target=watch.close, daemon=True)
    closing.start()
    closing.join(5)
    assert not closing.is_alive(), "it does not wait for what hangs"
    hanging.go_on.set()
    look.join(20)
    assert (found, hanging.open_while_it_looked, hanging.open) == ([[]], [1], 0)


def test_polls_share_open_sources_until_close(monkeypatch):
    hanging = HangingSources("")
    monkeypatch.setattr(gate, "read_documents", hanging.documents)
    monkeypatch.setattr(sources, "sources", hanging.sources)
    monkeypatch.setattr(monitor, "SLOMonitor", lambda *_, **__: SimpleNamespace(evaluate=hanging.evaluate))
    watch = BurnWatch("/x")
    assert (watch.poll(), watch.poll(), hanging.open) == ([], [], 1)
    watch.close()
    watch.close()
    assert hanging.open == 0


def test_slo_of_time_slices_longer_than_a_short_window_becomes_calm():
    """No rule uses the five minutes that are shorter than a slice; their burn rate is never known."""
    sliced = slo(
        target="0.9", window="7d", method=BudgetingMethod.TIMESLICES,
        time_slice_window=parse_duration("30m"), time_slice_target=Fraction(1, 2),
    )  # fmt: skip
    events = [(ago, good, bad) for ago, good, bad in steady(0, days=8)]
    events += [(ago + parse_duration("30m").timedelta, good, bad) for ago, good, bad in events]
    (report,) = monitor.SLOMonitor(catalog(sliced), {"SQL": MemorySource(api=events)}).evaluate(AT)
    assert poll_result(report, severity="ticket", rearm=Fraction(1, 2)).state is BurnState.CALM
