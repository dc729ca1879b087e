"""A machine without servers and acceptance data: missing things are reported first, and no test fails because of them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import pytest

from tests import machine
from tests.needs import DATA, Suite, report_lines
from tests.peers import peer
from tests.support import REPO, acceptance, need

BARE = (sys.executable, str(REPO / "tools" / "bare_machine.py"))

PLUGIN = """
import pytest
@pytest.fixture
def prometheus():
    return need("prometheus")
class World:
    def kubectl(self):
        return self.program
    def program(self):
        return peer("kubectl")
@pytest.fixture
def world():
    return World()
"""
TEST = """
import asyncio
from tests.other import helper as helps
@pytest.fixture(autouse=True)
def always(): need("java")
@pytest.fixture
def here(prometheus): pass
def test_by_a_fixture_of_a_fixture(here): pass
def test_by_a_mark(): pass
def test_by_a_function(): helps()
def test_by_a_method(world): world.kubectl()
def test_of_a_world_alone(world): asyncio.kubectl()
"""
OTHER = """
def helper(): deeper()
def deeper(): return acceptance("slo")
"""


@pytest.fixture(scope="module")
def suite() -> Suite:
    return Suite.here()


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=REPO, env=os.environ | environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


class TestWhoNeedsWhat:
    def test_needs_follow_fixtures_functions_and_methods(self) -> None:
        sources = {
            "tests.conftest": "pytest_plugins = ['tests.plugin']",
            "tests.plugin": PLUGIN,
            "tests.other": OTHER,
            "tests.unit.test_x": TEST,
        }
        names = {what: [one.rpartition("::")[2] for one in Suite(sources).tests(what)] for what in ("prometheus", DATA)}
        assert names == {"prometheus": ["test_by_a_fixture_of_a_fixture"], DATA: ["test_by_a_function"]}
        assert Suite(sources).tests(".peers/kubectl") == ["tests/unit/test_x.py::test_by_a_method"]
        assert len(Suite(sources).tests("java")) == 5

    def test_optional_program_is_not_needed(self) -> None:
        text = "def start(): need('initdb')\ndef test_database():\n  if find('initdb'): start()"
        assert Suite({"tests.test_x": text}).tests("initdb") == []

    def test_table_of_programs_matches_the_needs_of_the_tests(self, suite: Suite) -> None:
        programs = {one for programs in machine.PROGRAMS.values() for one in programs}
        asked = {what for needs in suite.needs.values() for what in needs if what != DATA and not what.startswith(".peers/")}
        assert asked == programs

    def test_line_of_a_missing_program_names_remedy_and_tests(self, suite: Suite) -> None:
        (line,) = report_lines({"apt-get install chromium": ["chromium"], "nothing": ["of no use"]}, suite)
        assert line == "chromium (apt-get install chromium): 1 in tests/e2e/test_slo_pages_browser.py"


class TestWhereItMayBeAsked:
    @pytest.mark.parametrize(
        "ask", [lambda: need("sh"), lambda: peer("docs"), lambda: acceptance()], ids=["need", "peer", "data"]
    )
    def test_need_in_another_thread_is_rejected(self, ask: Callable[[], object]) -> None:
        with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="nobody hears of a skip in this thread"):
            pool.submit(ask).result()
        assert threading.current_thread() is threading.main_thread()

    @pytest.mark.parametrize(
        "ask", [lambda: need("sh"), lambda: peer("docs"), lambda: acceptance()], ids=["need", "peer", "data"]
    )
    def test_need_during_collection_is_rejected(self, ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PYTEST_CURRENT_TEST")
        with pytest.raises(RuntimeError, match="no test is running"):
            ask()

    def test_need_of_a_program_outside_the_table_is_rejected(self) -> None:
        with pytest.raises(LookupError, match=r"add sh to PROGRAMS in tests/machine\.py"):
            need("sh")


class TestBareMachine:
    def test_bare_machine_has_shell_tools_and_no_servers(self) -> None:
        programs = [one for programs in machine.PROGRAMS.values() for one in programs]
        done = run(
            *BARE, "sh", "-c", f"command -v sed; command -v {' '.join(programs)} kubectl docker; echo [$CI$SLO_TEST_INSTALL]"
        )
        found = done.stdout.split()
        assert (len(found), found[0].endswith("/sed"), found[1]) == (2, True, "[]")

    def test_bare_machine_returns_the_exit_code_of_its_command(self) -> None:
        assert run(*BARE, "sh", "-c", "exit 3").returncode == 3

    def test_bare_machine_reports_missing_programs_and_skipped_tests(self) -> None:
        done = run(*BARE, sys.executable, "-m", "tests.needs")
        head, *lines = done.stdout.splitlines()
        assert head.endswith("tests that are skipped:")
        for what in (*(", ".join(programs) for programs in machine.PROGRAMS.values()), DATA, ".peers/kubectl"):
            assert any(line.startswith(f"test:   {what} (") for line in lines), what

    def test_missing_server_in_ci_fails(self) -> None:
        nowhere = str(REPO / "nowhere")
        done = run(*BARE, "env", "CI=true", sys.executable, "-m", "tests.needs", SLO_ACCEPTANCE_DIR=nowhere)
        assert "tests that fail, as CI is set" in done.stdout

    def test_make_test_reports_missing_programs_first(self) -> None:
        recipe = (REPO / "Makefile").read_text().partition("\ntest:")[2].partition("\n\n")[0]
        assert 0 < recipe.index("-m tests.needs") < recipe.index("$(MAKE) lint") < recipe.index("-m pytest")


def test_benchmark_without_its_server_exits_with_a_message() -> None:
    """A benchmark runs outside of pytest, so it exits instead of skipping."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"CI": "true"}
    text = "from tests.support import acceptance; acceptance('no such file')"
    ran = subprocess.run([sys.executable, "-c", text], cwd=REPO, env=without, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.startswith("acceptance data ")) == (1, True), ran.stderr


def test_hypothesis_profiles_have_no_deadline() -> None:
    assert hypothesis.settings.default.deadline is None
    assert hypothesis.HealthCheck.too_slow in hypothesis.settings.default.suppress_health_check


def test_tests_do_not_assert_elapsed_time() -> None:
    """Clocks read before and after a pause may differ by less than the pause; only upper bounds are safe."""
    clocks = {"time.monotonic()", "time.perf_counter()", "time.time()"}
    wrong = []
    for path in sorted((REPO / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                for one in (one for one in ast.walk(node.test) if isinstance(one, ast.Compare)):
                    sides = [one.left, *one.comparators]
                    measured = [any(ast.unparse(inner) in clocks for inner in ast.walk(side)) for side in sides]
                    if any(measured) and not (measured == [True, False] and isinstance(one.ops[0], ast.Lt)):
                        wrong.append(f"{path.relative_to(REPO)}:{one.lineno}: {ast.unparse(one)}")
    # Not a pause: a server reports a time of the same clock.
    assert wrong == [
        one for one in wrong if one.startswith("tests/services/test_freshness_prometheus.py") and "fresh_at" in one
    ], "count, move a clock (tests.support.Clock), or ask the code's own clock"
