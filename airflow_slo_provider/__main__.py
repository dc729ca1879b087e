"""Run a check without Airflow: ``python -m airflow_slo_provider check KIND --spec SPEC``.

Airflow is not needed at run time, so that the image of a model server can run checks: ``pip install --no-deps
airflow-slo-provider`` and the libraries that the kind of check needs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_slo_provider.core import strict_json

#: Where Airflow's XCom sidecar reads a pod's result.
XCOM_FILE = "/airflow/xcom/return.json"

#: Exit codes of the command.
PASSED, FAILED, UNUSABLE, FAULT = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Without ``--xcom`` it prints the results and ends with 0 when all passed (warnings pass), 1 when one did not, 2 when the
    check cannot be run with this spec, 3 for a transient fault. With ``--xcom`` it ends with 0 once its result or its error is
    written: the reader of the file evaluates it.

    :param arguments: the command line without the program's name; ``sys.argv`` by default
    :return: the exit code
    """
    parser = argparse.ArgumentParser(prog="python -m airflow_slo_provider", description="Run a check outside of Airflow.")
    check = parser.add_subparsers(dest="command", required=True).add_parser("check", help="run a check")
    check.add_argument("kind", help="slo, golden_set, or module:function for a check of your own")
    check.add_argument("--spec", required=True, help="what to check: a JSON object, @FILE, or - for standard input")
    check.add_argument("--xcom", nargs="?", const=XCOM_FILE, help=f"write the result to this file (default {XCOM_FILE})")
    options = parser.parse_args(arguments)
    content = _run_check(options.kind, options.spec)
    print(json.dumps(content, indent=None if options.xcom else 2), flush=True)  # noqa: T201
    if options.xcom:
        Path(options.xcom).write_text(json.dumps(content), encoding="utf-8")
        return PASSED
    if "error" in content:
        return FAULT if content["error"]["transient"] else UNUSABLE
    return PASSED if all(result["verdict"] in ("pass", "warn") for result in content["results"]) else FAILED


def _run_check(kind: str, spec: str) -> dict[str, Any]:
    from airflow_slo_provider.checks.envelope import serialise, serialise_error
    from airflow_slo_provider.checks.kinds import run_check

    try:
        return serialise(run_check(kind, _read_spec(spec)))
    except Exception as error:
        return serialise_error(error)


def _read_spec(spec: str) -> Mapping[str, Any]:
    from airflow_slo_provider.exceptions import CheckError

    try:
        text = sys.stdin.read() if spec == "-" else spec
        if spec.startswith("@"):
            text = Path(spec[1:]).read_text(encoding="utf-8")
        content = strict_json.loads(text)
    except (OSError, ValueError) as error:
        reason = strict_json.json_error_reason(error, "bad_spec")
        raise CheckError(f"the spec cannot be read: {error}", reason=reason) from error
    if not isinstance(content, dict):
        raise CheckError(f"the spec is a JSON {type(content).__name__}, not an object", reason="bad_spec")
    return content


if __name__ == "__main__":
    sys.exit(main())
