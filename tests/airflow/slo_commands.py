"""``airflow slo ...`` through Airflow's own parser."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def parser() -> Any:
    from airflow.cli.cli_parser import get_parser

    from airflow_slo_provider.cli.definition import get_slo_cli_commands

    found = get_parser()
    group = next(action for action in found._actions if getattr(action, "choices", None) and "dags" in action.choices)
    if "slo" not in group.choices:  # the package is not installed here: add its commands
        from airflow.cli.cli_parser import _add_command

        for command in get_slo_cli_commands():
            _add_command(group, command)
    return found


@pytest.fixture
def slo_command(parser: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command; return exit code, standard output and standard error."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")

    def run(*arguments: object) -> tuple[int, str, str]:
        args = parser.parse_args(["slo", *map(str, arguments)])
        code = 0
        try:
            args.func(args)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
