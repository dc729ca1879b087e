"""Measure reading 2,000 SLOs from documents, and writing their rules: ours, and the bare YAML library on the same files.

    python -m benchmarks.slo_documents [--slos 2000] [--repeat 3]

Each measurement is a process of its own; CPU seconds are user and system time from its start to its end, memory is the most that
it had resident. The floor of ``validate`` loads the same files with PyYAML's C loader, which checks nothing, knows no lines and
reads no query; that of ``rules`` also writes the generated rules with PyYAML's C dumper. Services without a
Service document are a warning each; one set has a service for each SLO, and 600 Service documents of other services, whose
names are compared.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from string import ascii_lowercase

import yaml

#: CPU seconds and MiB that `validate` may take for 2,000 SLOs, and CPU seconds that `rules` may take.
VALIDATE_SECONDS, VALIDATE_MEMORY, RULES_SECONDS = 6, 200, 10
SLOS_PER_SERVICE = 10
SERVICE_DOCUMENTS = 600

_OPENSLO = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: {name}
  labels: {{team: [team-{team}]}}
spec:
  description: Answered requests of {service}.
  service: {service}
  indicator:
    metadata: {{name: {name}}}
    spec:
      ratioMetric:
        counter: true
        {role}:
          metricSource:
            type: Prometheus
            spec:
              query: sum(rate(http_requests_total{{job="{service}",handler="/{number}",code{op}"5.."}}[{{{{.window}}}}]))
        total:
          metricSource:
            type: Prometheus
            spec:
              query: sum(rate(http_requests_total{{job="{service}",handler="/{number}"}}[{{{{.window}}}}]))
  timeWindow:
    - duration: {window}
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: {name}
      target: {target}
"""
_SERVICE = """\
apiVersion: openslo/v1
kind: Service
metadata:
  name: {name}
spec:
  description: A service.
"""
_SLOTH = """\
  - name: {name}
    objective: {percent}
    description: Answered requests of {service}.
    labels: {{team: team-{team}}}
    sli:
      events:
        error_query: sum(rate(http_requests_total{{job="{service}",handler="/{number}",code=~"5.."}}[{{{{.window}}}}]))
        total_query: sum(rate(http_requests_total{{job="{service}",handler="/{number}"}}[{{{{.window}}}}]))
    alerting:
      name: Alert{number}
      page_alert: {{disable: true}}
      ticket_alert: {{disable: true}}
"""

#: Runs in a process of its own: ``argv`` holds the work and the paths.
_PROGRAM = """
import contextlib, io, json, sys
from argparse import Namespace
work, paths = sys.argv[1], sys.argv[2:]
printed = io.StringIO()
with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    if work == "validate":
        from airflow_slo_provider.cli.commands import validate
        validate(Namespace(path=paths, against=None, sloth_period=None))
    elif work == "rules":
        from airflow_slo_provider.cli.commands import rules
        options = dict(select=None, interval=None, label=None, grafana=None, sloth_period=None)
        rules(Namespace(path=paths[1:], output_file=paths[0], **options))
    else:
        import glob, yaml
        files = [file for path in paths[1:] for file in glob.glob(path + "/*.yaml")]
        documents = [document for file in files for document in yaml.load_all(open(file), yaml.CSafeLoader)]
        if work == "floor of rules":
            yaml.dump(json.load(open(paths[0])), io.StringIO(), yaml.CSafeDumper, sort_keys=False)
import os
cpu = sum(os.times()[:2])
memory = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([cpu, memory / 1024, printed.getvalue()[-300:]]))
"""


def described(number: int) -> dict[str, object]:
    """Return the values of one SLO."""
    is_good = number % 3 == 0
    return {
        "number": number,
        "name": f"slo-{number}",
        "service": f"service-{number // SLOS_PER_SERVICE}",
        "team": number % 17,
        "role": "good" if is_good else "bad",
        "op": "!~" if is_good else "=~",
        "window": ("30d", "28d", "7d")[number % 3],
        "target": ("0.999", "0.99", "0.995")[number % 3],
        "percent": ("99.9", "99", "99.5")[number % 3],
    }


def openslo(numbers: range) -> str:
    return "---\n".join(_OPENSLO.format(**described(number)) for number in numbers)


def sloth(numbers: range) -> str:
    """Return the document of one service."""
    service = described(numbers[0])["service"]
    return f"version: prometheus/v1\nservice: {service}\nslos:\n" + "".join(_SLOTH.format(**described(n)) for n in numbers)


def unlike(slos: int) -> dict[str, str]:
    """Return SLOs and Service documents whose names have little in common."""
    chance = random.Random(2000)
    names = ["".join(chance.choices(ascii_lowercase, k=12)) for _ in range(slos + SERVICE_DOCUMENTS)]
    services = "---\n".join(_SERVICE.format(name=name) for name in names[slos:])
    documents = {str(number): _OPENSLO.format(**{**described(number), "service": names[number]}) for number in range(slos)}
    return {"services": services, **documents}


def batches(slos: int) -> Iterator[range]:
    return (range(first, min(first + SLOS_PER_SERVICE, slos)) for first in range(0, slos, SLOS_PER_SERVICE))


#: Each set of documents by name: writes its files into a directory.
SETS: dict[str, Callable[[Path, int], None]] = {
    "OpenSLO, a file for each service": lambda home, slos: write(
        home, {str(n): openslo(n_) for n, n_ in enumerate(batches(slos))}
    ),
    "OpenSLO, one file": lambda home, slos: write(home, {"all": openslo(range(slos))}),
    "OpenSLO, a file and a service for each SLO": lambda home, slos: write(home, unlike(slos)),
    "sloth, a file for each service": lambda home, slos: write(home, {str(n): sloth(n_) for n, n_ in enumerate(batches(slos))}),
}


def write(home: Path, files: dict[str, str]) -> None:
    home.mkdir()
    for name, text in files.items():
        (home / f"{name}.yaml").write_text(text)


def measure(work: str, *paths: str) -> tuple[float, float, str]:
    """Return CPU seconds, MiB and the end of what was printed."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, work, *paths], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    seconds, memory, printed = json.loads(done.stdout)
    return seconds, memory, printed


def compare(documents: Path, repeat: int) -> dict[str, tuple[float, float]]:
    """Return the median CPU seconds and MiB of each work on one set of documents, one after the other in each round."""
    rules, loaded = f"{documents}-rules.yaml", Path(f"{documents}-rules.json")
    measure("rules", rules, str(documents))
    loaded.write_text(json.dumps(yaml.load(Path(rules).read_text(), yaml.CSafeLoader)))
    arguments = {
        "validate": [str(documents)],
        "floor of validate": ["", str(documents)],
        "rules": [rules, str(documents)],
        "floor of rules": [str(loaded), str(documents)],
    }
    runs: dict[str, list[tuple[float, float, str]]] = {work: [] for work in arguments}
    for _ in range(repeat):
        for work, found in runs.items():
            found.append(measure(work, *arguments[work]))
    return {work: (median(run[0] for run in found), median(run[1] for run in found)) for work, found in runs.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slos", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(prefix="slo-bench-documents-") as home:
        for number, (title, make) in enumerate(SETS.items()):
            documents = Path(home, str(number))
            make(documents, options.slos)
            printed = measure("validate", str(documents))[2].splitlines()[-1]
            found = compare(documents, options.repeat)
            print(f"{title}: {printed}")
            for work, (seconds, memory) in found.items():
                floor = found[f"floor of {work.removeprefix('floor of ')}"][0]
                print(f"  {work:18} {seconds:6.2f} s CPU  {seconds / floor:6.2f} x the floor  {memory:4.0f} MiB")
            failed |= found["validate"][0] > VALIDATE_SECONDS or found["validate"][1] > VALIDATE_MEMORY
            failed |= found["rules"][0] > RULES_SECONDS
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
