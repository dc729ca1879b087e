"""Measure the cost of a thousand waiting freshness sensors: in the triggerer's event loop, and as rescheduled sensors.

    python -m benchmarks.freshness_sensors                 # triggers in a separate event loop, one minute per mode
    python -m benchmarks.freshness_sensors --real          # in a real triggerer, and the cost of one worker start

Every mode asks the same real Prometheus server (Debian's ``prometheus``), which counts the requests itself.

- ``shared``: this provider's trigger, all asking one question
- ``distinct``: the same, each asking a question of its own
- ``idle``: no trigger at all; the lag is that of the machine
- ``alone``: a trigger as they are usually written: each has its own client and its own loop
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WAYS = ("idle", "shared", "distinct", "alone")


def queries_so_far(url: str) -> int:
    text = urllib.request.urlopen(f"{url}/metrics").read().decode()
    lines = [line for line in text.splitlines() if line.startswith("prometheus_http_requests_total") and '/api/v1/query"' in line]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def memory(pid: int) -> float:
    """Return the resident memory of a process in MB, without memory shared with its parent processes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.endswith("kB")}
    return (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) / 1024


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def prometheus():
    from tests.services.prometheus_server import running_prometheus

    with tempfile.TemporaryDirectory() as directory, running_prometheus(Path(directory)) as url:
        yield url


# --- triggers in a separate event loop ------------------------------------------------------------------------------------


def trigger(mode: str, number: int, interval: float):
    from airflow_slo_provider.triggers.freshness import FreshnessTrigger

    # Always 7200 s old, so no sensor ever succeeds.
    query = "vector(7200)" if mode == "shared" else f"vector(7200 + {number})"
    made = FreshnessTrigger(
        kind="query", conn_id="prom", arguments={"query": query, "query_gives": "age"}, interval=interval, max_age=3600.0
    )
    if mode == "alone":
        made.run = lambda: alone(query, interval, number)
    return made


async def alone(query: str, interval: float, number: int):
    from airflow_slo_provider.freshness.sources.prometheus import PrometheusQuery
    from airflow_slo_provider.hooks.prometheus import PrometheusHook

    asked = PrometheusQuery(query=query, gives="age")
    async with await PrometheusHook("prom").aclient() as client:
        await asyncio.sleep(interval * (number % 1000) / 1000)
        while True:
            now = datetime.now(UTC)
            asked.read(await client.instant(query, now), at=now, where="prom")
            await asyncio.sleep(interval)
            yield None


async def measure(mode: str, count: int, interval: float, seconds: float, url: str) -> dict[str, float]:
    async def drain(one):
        async for _ in one.run():
            pass

    # The first waiting trigger has loaded all libraries; the cost of the others is measured.
    warm = asyncio.create_task(drain(trigger(mode, count, 0.2)))
    await asyncio.sleep(3)
    warm.cancel()
    await asyncio.gather(warm, return_exceptions=True)
    before = memory(os.getpid())
    started = time.process_time()
    many = 0 if mode == "idle" else count
    tasks = [asyncio.create_task(drain(trigger(mode, number, interval))) for number in range(many)]
    await asyncio.sleep(interval + 1)  # all have polled once: the load is even now
    begin, cpu, lags = queries_so_far(url), time.process_time(), []
    opening = cpu - started
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        due = time.monotonic() + 0.02
        await asyncio.sleep(0.02)
        lags.append((time.monotonic() - due) * 1000)
    asked = queries_so_far(url) - begin
    failed = [one for one in tasks if one.done()]
    result = {
        "memory_mb": memory(os.getpid()) - before,
        "lag_p50_ms": percentile(lags, 0.5),
        "lag_p99_ms": percentile(lags, 0.99),
        "lag_max_ms": max(lags),
        "queries_per_s": asked / seconds,
        "cpu_share": (time.process_time() - cpu) / seconds,
        "opening_cpu_s": opening,
        "ended": len(failed),
    }
    for one in tasks:
        one.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return result


def in_a_loop(options: argparse.Namespace) -> None:
    with prometheus() as url:
        env = {**os.environ, "AIRFLOW_CONN_PROM": json.dumps({"conn_type": "prometheus", "host": url}), "SLO_BENCH_URL": url}
        env |= {"AIRFLOW_HOME": tempfile.mkdtemp(), "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING", "PYTHONPATH": str(ROOT)}
        found = {}
        for mode in options.ways.split(","):
            command = [sys.executable, "-m", "benchmarks.freshness_sensors", "--one", mode, "--count", str(options.count)]
            command += ["--interval", str(options.interval), "--seconds", str(options.seconds)]
            done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            found[mode] = json.loads(done.stdout.splitlines()[-1])
    print(f"{options.count} waiting triggers, a look every {options.interval:g} s, {options.seconds:g} s measured\n")
    print("| way | added memory MB | loop lag p50 / p99 / max ms | queries per s | CPU of a core | CPU s to begin | ended |")
    print("|---|---|---|---|---|---|---|")
    for mode, one in found.items():
        print(
            f"| {mode} | {one['memory_mb']:.1f} | {one['lag_p50_ms']:.2f} / {one['lag_p99_ms']:.2f} / {one['lag_max_ms']:.1f} "
            f"| {one['queries_per_s']:.2f} | {one['cpu_share'] * 100:.1f} % | {one['opening_cpu_s']:.1f} | {one['ended']} |"
        )
    base = found.get("alone")
    for mode in found if base else ():
        if mode in ("alone", "idle"):
            continue
        print(
            f"\nalone / {mode}: memory x{base['memory_mb'] / max(found[mode]['memory_mb'], 0.1):.1f}, "
            f"queries x{base['queries_per_s'] / max(found[mode]['queries_per_s'], 1e-9):.1f}, "
            f"CPU x{base['cpu_share'] / max(found[mode]['cpu_share'], 1e-9):.1f}"
        )


# --- a real triggerer ------------------------------------------------------------------------------------------------------

DAGS = """
from datetime import timedelta
from airflow.sdk import dag
from airflow.providers.standard.sensors.python import PythonSensor
from airflow_slo_provider.sensors.freshness import PipelineFreshnessSensor

@dag(schedule=None)
def bench_deferred():
    PipelineFreshnessSensor.partial(
        task_id="wait", query="vector(7200)", query_gives="age", conn_id="prom", deferrable=True, poke_interval={interval},
        pool="closed", timeout=86400,
    ).expand(max_age=[timedelta(seconds=3600 + n) for n in range({count})])

@dag(schedule=None)
def bench_rescheduled():
    for number in range({starts}):
        PythonSensor(task_id=f"wait_{{number}}", python_callable=lambda: False, mode="reschedule", poke_interval=1, timeout=600)

bench_deferred()
bench_rescheduled()
"""

#: Runs in the stack's environment. Stores the sensors in the state after their first check: starting a thousand workers for that
#: would take an hour on two cores and is not measured.
DEFER = """
import sys
from datetime import timedelta
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from airflow.sdk import timezone
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow_slo_provider.triggers.freshness import FreshnessTrigger
count, interval, mode = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

def trigger(number):
    if mode == "airflow":
        return DateTimeTrigger(moment=timezone.utcnow() + timedelta(days=1, seconds=number))
    query = f"vector(7200 + {number})" if mode == "distinct" else "vector(7200)"
    return FreshnessTrigger(
        kind="query", conn_id="prom", arguments={"query": query, "query_gives": "age"}, interval=interval, max_age=3600.0)

with create_session() as session:
    rows = session.query(TaskInstance).filter(TaskInstance.dag_id == "bench_deferred", TaskInstance.map_index >= 0).all()
    assert len(rows) == count, len(rows)
    for number, row in enumerate(rows):
        made = Trigger.from_object(trigger(number))
        session.add(made)
        session.flush()
        row.state, row.trigger_id, row.next_method, row.next_kwargs = "deferred", made.id, "recheck", {}
        row.trigger_timeout = timezone.utcnow() + timedelta(days=1)
        row.start_date = timezone.utcnow()
print("deferred", count)
"""


def tree_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, including ended ones."""
    import psutil

    total = 0.0
    for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def tree_memory(pid: int) -> float:
    """Return the private memory of a process and its descendants in MB."""
    import psutil

    return sum(memory(one.pid) for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)])


def in_a_triggerer(options: argparse.Namespace) -> None:
    from demo.airflow_stack import AirflowStack

    starts = 6
    with prometheus() as url, tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "dags"
        folder.mkdir()
        (folder / "bench.py").write_text(DAGS.format(interval=options.interval, count=options.count, starts=starts))
        settings = {
            "AIRFLOW_CONN_PROM": json.dumps({"conn_type": "prometheus", "host": url}),
            "AIRFLOW__CORE__MAX_MAP_LENGTH": str(options.count),
            "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "5",
            # The default capacity of a triggerer.
            "AIRFLOW__TRIGGERER__CAPACITY": str(options.count),
        }
        stack = AirflowStack(Path(home) / "home", [folder], settings=settings, report=lambda text: print(f"# {text}", flush=True))
        with stack:
            client = stack.client
            client.call("POST", "/api/v2/pools", {"name": "closed", "slots": 0})
            for dag_id in ("bench_deferred", "bench_rescheduled"):
                client.wait_for_dag(dag_id)
                client.unpause(dag_id)
            # The cost of one rescheduled check.
            looks = 0 if options.way == "airflow" else 45
            run_id = client.trigger("bench_rescheduled")
            time.sleep(10)
            busy = [stack.running[name].pid for name in ("scheduler", "api-server")]
            cost = lambda: sum(tree_cpu(pid) for pid in busy)  # noqa: E731
            log = stack.home / "logs"
            check_count = lambda: sum(path.read_text().count("Rescheduling task") for path in log.rglob("attempt=*.log"))  # noqa: E731
            cpu, seen, began = cost(), check_count(), time.monotonic()
            time.sleep(looks)
            cpu, seen, took = cost() - cpu, check_count() - seen, time.monotonic() - began
            client.call("PATCH", f"/api/v2/dags/bench_rescheduled/dagRuns/{run_id}", {"state": "failed"})
            per_start = cpu / max(seen, 1)

            client.trigger("bench_deferred")
            deadline = time.monotonic() + 120
            while len(client.call("GET", "/api/v2/dags/bench_deferred/dagRuns/~/taskInstances?limit=1")["task_instances"]) == 0:
                time.sleep(1)
            while True:
                answer = client.call("GET", "/api/v2/dags/bench_deferred/dagRuns/~/taskInstances?limit=1")
                if answer["total_entries"] >= options.count:
                    break
                assert time.monotonic() < deadline, answer["total_entries"]
                time.sleep(1)
            triggerer = stack.running["triggerer"].pid
            # The event loop runs in a child process of the triggerer: all its processes are measured.
            before, log = tree_memory(triggerer), stack.component_log("triggerer")
            warned = log.read_text().count("thread was blocked")
            stack.kill_component("scheduler")
            script = Path(home) / "defer.py"
            script.write_text(DEFER)
            subprocess.run(
                [sys.executable, str(script), str(options.count), str(options.interval), options.way], env=stack.env, check=True
            )
            time.sleep(options.interval * 2 + 10)
            asked, cpu, began = queries_so_far(url), tree_cpu(triggerer), time.monotonic()
            time.sleep(options.seconds)
            seconds = time.monotonic() - began
            states = client.call("GET", "/api/v2/dags/bench_deferred/dagRuns/~/taskInstances?state=deferred&limit=1")
            assert states["total_entries"] == options.count, "a sensor woke up"
            asked, cpu, after = queries_so_far(url) - asked, tree_cpu(triggerer) - cpu, tree_memory(triggerer)
            lines = [line for line in log.read_text().splitlines() if "thread was blocked" in line]
            blocked = len(lines) - warned
    print(f"\n{options.count} deferred sensors in one real triggerer ({options.way}), a look every {options.interval:g} s\n")
    print("| | |\n|---|---|")
    print(f"| added memory of the triggerer | {after - before:.1f} MB ({before:.0f} -> {after:.0f}) |")
    print(f"| queries per second | {asked / seconds:.2f} |")
    print(f"| CPU of the triggerer | {cpu / seconds * 100:.1f} % of a core |")
    print(f"| warnings of a blocked loop (before: {warned}) | {blocked} |")
    if options.way == "airflow":
        print(*lines, sep="\n")
        return
    print(f"| CPU per rescheduled look: worker, scheduler, API server ({seen} looks in {took:.0f} s) | {per_start:.2f} s |")
    needed = per_start * options.count / options.interval
    print(f"| so {options.count} rescheduled sensors every {options.interval:g} s would need (computed) | {needed:.1f} cores |")
    print(*lines, sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=30)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--real", action="store_true", help="measure a real triggerer")
    parser.add_argument(
        "--way",
        choices=("shared", "distinct", "airflow"),
        default="shared",
        help="with --real: all ask one question, each its own, or Airflow's DateTimeTrigger, which asks nothing",
    )
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        url = os.environ["SLO_BENCH_URL"]
        print(json.dumps(asyncio.run(measure(options.one, options.count, options.interval, options.seconds, url))))
    elif options.real:
        in_a_triggerer(options)
    else:
        in_a_loop(options)


if __name__ == "__main__":
    main()
