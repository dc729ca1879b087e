"""``airflow slo drift REF CUR``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider.cli.drift import DRIFT_COMMAND, drift
from airflow_slo_provider.drift import load_profile


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Any:
    parser = argparse.ArgumentParser()
    for argument in DRIFT_COMMAND.args:
        argument.add_to_parser(parser)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            drift(parser.parse_args([str(argument) for argument in arguments]))
        except SystemExit as exited:
            code = int(exited.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(1)
    for name, shift, rows in (("before", 0, 2000), ("same", 0, 2000), ("after", 1, 2000), ("few", 0, 9)):
        pd.DataFrame({"amount": rng.normal(shift, 1, rows), "id": np.arange(rows) + 5000 * shift}).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    return {path.stem: path for path in tmp_path.iterdir()}


def test_drift_command_prints_report_and_exit_code(command, files, tmp_path) -> None:
    code, out, err = command(files["before"], files["same"])
    assert (code, err) == (0, "")
    assert "ok: 2 columns: 2 ok" in out
    code, out, _ = command(files["before"], files["after"], "--ignore", "id", "--report", tmp_path / "r.html")
    assert code == 1
    assert "amount  drift" in out
    assert "<html" in (tmp_path / "r.html").read_text()
    assert command(files["before"], files["few"])[0] == 2
    code, out, _ = command(files["before"], files["after"], "--column", "amount", "-o", "json", "--exact")
    assert code == 1
    assert json.loads(out)["columns"].keys() == {"amount"}


def test_drift_command_saved_profile_can_be_compared(command, files, tmp_path) -> None:
    path = tmp_path / "p.json"
    assert command(files["before"], files["same"], "--save-profile", path)[0] == 0
    assert load_profile(path).rows == 2000
    assert command(path, files["after"], "--ignore", "id")[0] == 1


def test_drift_command_read_error_is_printed_to_stderr(command, files, tmp_path) -> None:
    code, out, err = command(files["before"], tmp_path / "absent.csv")
    assert (code, out) == (2, "")
    assert err.startswith("no file matches")


def test_drift_command_on_terminal_shows_progress_bar(command, files, monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    _, _, err = command(files["before"], files["same"])
    assert "100%" in err
