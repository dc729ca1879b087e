"""Measure 100 SLOs x 4 windows on one Prometheus server: ours, slo-generator 2.6, and four queries grouped by hand.

    python -m benchmarks.error_budget [--slos 100] [--repeat 5] [--peers DIRECTORY]

Needs ``prometheus`` and ``promtool``. slo-generator gets a virtual environment of its own (in ``--peers``), made on first use.
Every figure is the median of ``--repeat`` runs; the ratios are what counts. The answers are compared before anything is timed.
slo-generator always asks for now, whatever instant it is given, so the history goes on for a while after the instant that the
others ask for, and grows evenly: its ratios are the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from statistics import median

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.error_budgets import burn_rate
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Indicator, MetricSource, Objective, RatioMetric, TimeWindow
from tests.services.prometheus_server import running_prometheus

STEP = 300  # seconds between scrapes
END = datetime.fromtimestamp(int(time.time()) // STEP * STEP, UTC)
WINDOWS = {"1h": timedelta(hours=1), "6h": timedelta(hours=6), "3d": timedelta(days=3), "30d": timedelta(days=30)}
# What a whole evaluation of an SLO over 30 days measures: the long and the short window of each burn-rate rule, and its own.
EVALUATED = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
AFTER = 3 * 3600  # seconds of history after END
PEER = ("slo-generator==2.6.0", "prometheus_http_client", "setuptools<80")
TARGET = "0.999"


def history(slos: int) -> Iterator[str]:
    """Return thirty days of counters of ``slos`` services."""
    start = int(END.timestamp()) - 30 * 86400
    yield "# TYPE requests counter\n"
    for number in range(slos):
        for code, growth in (("200", 999 - number), ("500", 1 + number % 3)):
            head = f'requests_total{{service="s{number}",code="{code}"}}'
            yield "".join(f"{head} {growth * n} {start + STEP * n}\n" for n in range((30 * 86400 + AFTER) // STEP + 1))
    yield "# EOF\n"


def selectors(service: str) -> tuple[str, str]:
    return f'requests_total{{service="{service}",code!~"5.."}}', f'requests_total{{service="{service}"}}'


def catalog(slos: int) -> SLOCatalog:
    def build_slo(name: str) -> SLO:
        good, total = (MetricSource("Prometheus", None, f"sum(increase({text}[{{{{.window}}}}]))") for text in selectors(name))
        indicator = Indicator(name, RatioMetric(good=good, total=total, counter=True))
        window = TimeWindow(parse_duration("30d"))
        return SLO(name, name, indicator, window, BudgetingMethod.OCCURRENCES, (Objective(Fraction(TARGET)),))

    return SLOCatalog(tuple(build_slo(f"s{number}") for number in range(slos)))


def ours(url: str, documents: SLOCatalog) -> dict[str, Fraction]:
    """Measure four windows of every SLO, and the burn rate of each."""
    source = PrometheusSource(PrometheusClient(url))
    pairs = [(slo, name) for slo in documents for name in WINDOWS]
    requests = [MeasureRequest(slo.indicator_of(slo.objectives[0]), END - WINDOWS[name], END) for slo, name in pairs]
    found = {}
    for (slo, name), answer in zip(pairs, source.measure(requests), strict=True):
        assert isinstance(answer, Measurement), answer
        assert answer.good is not None
        assert answer.total is not None
        found[f"{slo.name} {name}"] = burn_rate(TARGET, answer.good, answer.total)
    return found


def by_hand(url: str, windows: Iterable[str] = tuple(WINDOWS)) -> dict[str, Fraction]:
    """Run hand-written queries for this case: one per window, grouped by service and code."""
    client = PrometheusClient(url)
    found = {}
    for name in windows:
        counts: dict[str, dict[str, Fraction]] = {}
        for sample in client.instant(f"sum by (service, code) (increase(requests_total[{name}]))", END):
            assert sample.value is not None
            counts.setdefault(sample.labels["service"], {})[sample.labels["code"]] = sample.value
        for service, codes in counts.items():
            found[f"{service} {name}"] = burn_rate(TARGET, codes["200"], sum(codes.values(), Fraction(0)))
    return found


PEER_PROGRAM = """
import json, sys, time
from slo_generator.compute import compute
url, slos, repeat, timestamp = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
windows = json.loads(sys.argv[5])
config = {
    "backends": {"prometheus": {"url": url}},
    "error_budget_policies": {"default": {"steps": [
        {"name": name, "window": seconds, "burn_rate_threshold": 1, "alert": False, "message_alert": "", "message_ok": ""}
        for name, seconds in windows.items()]}},
}
def slo(number):
    service = f"s{number}"
    return {"apiVersion": "sre.google.com/v2", "kind": "ServiceLevelObjective",
            "metadata": {"name": service, "labels": {"service_name": service, "feature_name": "x", "slo_name": "x"}},
            "spec": {"description": "x", "backend": "prometheus", "method": "good_bad_ratio", "exporters": [], "goal": 0.999,
                     "service_level_indicator": {
                         "filter_good": f'requests_total{{service="{service}",code!~"5.."}}[window]',
                         "filter_valid": f'requests_total{{service="{service}"}}[window]'}}}
found, seconds = {}, []
for _ in range(repeat):
    started = time.perf_counter()
    for number in range(slos):
        for report in compute(slo(number), config, timestamp=timestamp):
            found[f"s{number} {report['error_budget_policy_step_name']}"] = report["error_budget_burn_rate"]
    seconds.append(time.perf_counter() - started)
print(json.dumps({"found": found, "seconds": seconds}))
"""

WHOLE_PROCESS = "import sys; from benchmarks.error_budget import *; ours(sys.argv[1], catalog(int(sys.argv[2])))"


def timed(work: Callable[[], object], repeat: int) -> float:
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def make_peer(home: Path) -> Path:
    python = home / "bin" / "python"
    if not (home / ".complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEER], check=True)
        (home / ".complete").touch()
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slos", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=Path(".peers"))
    options = parser.parse_args()
    python = make_peer((options.peers / "slo-generator").resolve())
    documents = catalog(options.slos)
    with tempfile.TemporaryDirectory() as directory, running_prometheus(Path(directory), blocks=history(options.slos)) as url:
        windows = json.dumps({name: int(length.total_seconds()) for name, length in WINDOWS.items()})
        arguments = [url, str(options.slos), str(options.repeat), str(int(END.timestamp())), windows]
        peer = json.loads(subprocess.run([python, "-c", PEER_PROGRAM, *arguments], check=True, capture_output=True).stdout)
        found, hand = ours(url, documents), by_hand(url)
        assert found == hand
        assert len(found) == options.slos * len(WINDOWS) == len(peer["found"])
        # slo-generator rounds what it reports, so it is compared to two digits.
        wrong = {name for name, rate in found.items() if abs(float(rate) - peer["found"][name]) > 0.06}
        assert not wrong, sorted(wrong)[:5]
        evaluator = PrometheusEvaluator(documents, url)
        rows = {
            "ours, in process": timed(lambda: ours(url, documents), options.repeat),
            "four queries grouped by hand": timed(lambda: by_hand(url), options.repeat),
            "ours, whole evaluation (8 windows, statuses)": timed(lambda: evaluator.evaluate(END), options.repeat),
            "eight queries grouped by hand": timed(lambda: by_hand(url, EVALUATED), options.repeat),
            "slo-generator 2.6, in process": median(peer["seconds"]),
            "ours, whole process": timed(
                lambda: subprocess.run([sys.executable, "-c", WHOLE_PROCESS, url, str(options.slos)], check=True), options.repeat
            ),
            "slo-generator 2.6, whole process": timed(
                lambda: subprocess.run(
                    [python, "-c", PEER_PROGRAM, url, str(options.slos), "1", *arguments[3:]], check=True, capture_output=True
                ),
                options.repeat,
            ),
        }
    print(f"{options.slos} SLOs x {len(WINDOWS)} windows, median of {options.repeat}\n")
    print("| what | seconds | against ours |\n|---|---|---|")
    for name, seconds in rows.items():
        base = rows["ours, whole process" if "whole process" in name else "ours, in process"]
        print(f"| {name} | {seconds:.3f} | {seconds / base:.2f} |")


if __name__ == "__main__":
    main()
