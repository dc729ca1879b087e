"""A small installation for the snippets: ``/opt`` of the documentation is a temporary directory."""

from __future__ import annotations

import json
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.docs.pages import DOCS, blocks_of
from tests.support import REPO

#: The value of ``{{ ds }}`` in snippets.
DAY = datetime(2026, 11, 20, tzinfo=UTC)
NAMES = ("orders-answered", "checkout-availability", "checkout-latency")


class World:
    """SLO documents, a request log, training data and days, a golden set, predictions, a model registry, traces."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for part in ("slos", "data/training", "data/days", "data/golden", "models/churn/7", "models/fraud/7", "reports"):
            (home / "opt" / part).mkdir(parents=True)
        (home / "slos").symlink_to(home / "opt" / "slos")  # for pages that write slos/
        self._slos()
        self._requests()
        self._tables()
        self._golden()
        self._registry()

    def placed(self, text: str) -> str:
        """Return the text with ``/opt/`` replaced by the directory of this world."""
        for before in ('"', '"file://', '"sqlite:///'):
            text = text.replace(f"{before}/opt/", f"{before}{self.home}/opt/")
        return text

    @property
    def connections(self) -> dict[str, dict[str, Any]]:
        """Return the connections that the snippets use."""
        log = {"conn_type": "sqlite", "host": str(self.home / "opt" / "data" / "orders.db"), "extra": {"mode": "ro"}}
        return {
            "orders_db": log,
            "warehouse": log,
            "model_registry_default": {"conn_type": "model_registry", "host": str(self.home / "opt" / "registry")},
            "tempo": {
                "conn_type": "trace_store",
                "extra": {"kind": "otlp_json", "path": str(self.home / "opt/data/traces.jsonl")},
            },
        }

    def _slos(self) -> None:
        (document,) = (block.text for block in blocks_of(REPO / "README.md") if block.language == "yaml")
        rest, slo = document.rsplit("---\n", 1)
        renamed = [slo.replace("name: orders-answered", f"name: {name}") for name in NAMES]
        (self.home / "opt" / "slos" / "orders.yaml").write_text("---\n".join([rest, *renamed]))

    def _requests(self) -> None:
        """Create 2,000 requests over six days, 5 of them failed, and fresh features of ten customers."""
        with sqlite3.connect(self.home / "opt" / "data" / "orders.db") as log:
            log.execute("CREATE TABLE requests (created_at TEXT, status INTEGER)")
            now, step = datetime.now(UTC), timedelta(days=6) / 2000
            rows = [(f"{now - step * number:%Y-%m-%d %H:%M:%S}", 500 if number >= 1995 else 200) for number in range(2000)]
            log.executemany("INSERT INTO requests VALUES (?, ?)", rows)
            log.execute("CREATE TABLE features (customer_id INTEGER, updated_at TEXT)")
            log.executemany("INSERT INTO features VALUES (?, ?)", [(one, f"{now:%Y-%m-%dT%H:%M:%S}+00:00") for one in range(10)])
        log.close()

    def _tables(self) -> None:
        """Create training data and a day with the same distribution."""
        for path, seed in (("training/one.csv", 1), ("training/two.csv", 2), (f"days/{DAY:%Y-%m-%d}.csv", 3)):
            chance = random.Random(seed)
            lines = ["customer_id,amount,country"]
            lines += [f"{seed}{number:05d},{chance.gauss(50, 10):.2f},{chance.choice('ab')}" for number in range(2000)]
            (self.home / "opt" / "data" / path).write_text("\n".join(lines) + "\n")

    def _golden(self) -> None:
        chance = random.Random(4)
        rows, predictions = ["id,label,country,amount,candidate,champion"], ["id,prediction"]
        for number in range(2000):
            label = chance.randrange(2)
            candidate = label if chance.random() < 0.97 else 1 - label
            champion = label if chance.random() < 0.93 else 1 - label
            rows.append(f"r{number},{label},{chance.choice(['de', 'fr'])},{chance.gauss(50, 10):.2f},{candidate},{champion}")
            predictions.append(f"r{number},{candidate}")
        (self.home / "opt" / "data" / "golden" / "fraud.csv").write_text("\n".join(rows) + "\n")
        searched = ["id,query,label,candidate,champion"]
        for query in range(200):
            for place in range(8):
                label = max(0, chance.randrange(-3, 4))
                scores = (f"{label + chance.gauss(0, noise):.3f}" for noise in (0.5, 1.5))
                searched.append(f"q{query}-{place},q{query},{label},{','.join(scores)}")
        (self.home / "opt" / "data" / "golden" / "search.csv").write_text("\n".join(searched) + "\n")
        (self.home / "opt" / "models" / "fraud" / "7" / "predictions.csv").write_text("\n".join(predictions) + "\n")

    def _registry(self) -> None:
        """Create the models churn (6 and then 7 were promoted) and fraud (6 is the champion, 7 a candidate)."""
        from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
        from airflow_slo_provider.deployment.registries.registry import MoveRequest

        registry = DirectoryRegistry(self.home / "opt" / "registry")
        source = self.home / "opt" / "models" / "fraud" / "7"
        for model, promoted in (("churn", "67"), ("fraud", "6")):
            for version in "67":
                registry.register(model, version, source)
            for version in promoted:
                registry.move(model, MoveRequest(kind="promote", alias="champion", key=f"made/{version}", to=version, by="world"))

    def traces(self) -> None:
        """Run the model server of docs/tracing.md with a clock ten minutes back, because stores show traces with a delay."""
        import re
        import subprocess
        import sys

        code = next(block for block in blocks_of(DOCS / "tracing.md") if "tracing.configure(" in block.text).text
        code = self.placed(code).replace("range(100)", "range(300)").replace('("v41", "v42")', '("v42",)')
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=self.environment(), cwd=self.home)
        file = self.home / "opt" / "data" / "traces.jsonl"
        earlier = re.sub(r'(TimeUnixNano": ?"?)(\d+)', lambda found: f"{found[1]}{int(found[2]) - 600 * 10**9}", file.read_text())
        file.write_text(earlier)

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that runs a snippet."""
        import os

        named = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(one) for name, one in self.connections.items()}
        return {
            **os.environ,
            **named,
            "PYTHONPATH": str(REPO),
            "AIRFLOW__SLO__LEDGER_URL": f"sqlite:///{self.home / 'ledger.db'}",
        }
