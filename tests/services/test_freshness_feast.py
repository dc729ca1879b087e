"""Freshness of feature views, asked of a real Feast registry server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
import urllib.request
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness import Limits, assess
from airflow_slo_provider.runtime.freshness.checks import observe
from airflow_slo_provider.runtime.freshness.source_parameters import read_source
from airflow_slo_provider.triggers.shared_polls import polls
from tests.peers import peer
from tests.services.prometheus_server import free_port

STORE = """
project: shop
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
offline_store: {type: file}
entity_key_serialization_version: 3
"""
#: Makes two feature views; one is materialised up to half an hour ago, and prints that moment.
MAKE = """
import sys
from datetime import datetime, timedelta, timezone
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float32
now = datetime.now(timezone.utc)
pd.DataFrame({"customer_id": [1, 2], "ts": [now - timedelta(hours=3)] * 2, "spend": [1.0, 2.0]}).to_parquet("d.parquet")
store = FeatureStore(".")
customer = Entity(name="customer", join_keys=["customer_id"])
source = FileSource(path="d.parquet", timestamp_field="ts")
def view(name):
    return FeatureView(name=name, entities=[customer], schema=[Field(name="spend", dtype=Float32)], source=source)
store.apply([customer, view("spend"), view("never")])
for hours in (2, 0):
    end = now - timedelta(hours=hours, minutes=30)
    store.materialize(now - timedelta(hours=5), end, feature_views=["spend"])
print("END", end.isoformat())
"""


@pytest.fixture(scope="module")
def feast(tmp_path_factory):
    # Feast 0.67 gives FastAPI an argument that newer ones refuse.
    programs = peer("feast")
    home, port = tmp_path_factory.mktemp("feast"), free_port()
    (home / "feature_store.yaml").write_text(STORE)
    (home / "make.py").write_text(MAKE)
    env = {**os.environ, "FEAST_USAGE": "False"}
    made = subprocess.run([programs / "python", "make.py"], cwd=home, env=env, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-3000:]
    end = datetime.fromisoformat(next(line.split()[1] for line in made.stdout.splitlines() if line.startswith("END")))
    command = [programs / "feast", "serve_registry", "--rest-api", "--no-grpc", "--rest-port", str(port), "-h", "127.0.0.1"]
    log = (home / "log").open("w")
    process = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api/v1/projects", timeout=2) as answer:
                if answer.status == 200:
                    break
            assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()[-3000:]
            time.sleep(0.3)
        yield url, end
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        log.close()


@pytest.fixture(autouse=True)
def connected(feast, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FEAST_DEFAULT", json.dumps({"conn_type": "http", "host": feast[0]}))


def ask(view, project="shop"):
    return read_source({"feature_view": view, "project": project})


def test_last_materialisation_is_observed_at_its_end(feast):
    found = observe(ask("spend"))
    assert found.observed_at == feast[1]
    assert found.evidence["measures"] == "materialisation"


def test_view_without_materialisation_is_unknown():
    found = observe(ask("never"))
    assert found.observed_at is None
    assert assess(found, datetime.now(UTC), Limits(timedelta(days=999))).freshness.verdict == "unknown"


def test_several_views_are_groups(feast):
    found = observe(ask(["spend", "never"]))
    assert found.groups == {"spend": feast[1], "never": None}
    judged = assess(found, datetime.now(UTC), Limits(timedelta(hours=1), quantile=0.5))
    assert judged.freshness.verdict == "pass"
    assert assess(found, datetime.now(UTC), Limits(timedelta(hours=1))).freshness.verdict == "fail"


@pytest.mark.parametrize(("view", "project"), [("nope", "shop"), ("spend", "nope")])
def test_missing_view_or_project_raises(view, project):
    with pytest.raises(QueryError, match=f"there is no feature view {view} in project {project}") as caught:
        observe(ask(view, project))
    assert not caught.value.transient


def test_trigger_finds_what_a_poke_finds(feast):
    async def once():
        async with aclosing(polls().observations(ask("spend"), 0.2)) as answers:
            return await anext(answers)

    assert asyncio.run(asyncio.wait_for(once(), 20)) == observe(ask("spend"))
