"""Every code block in the documentation is run, read or parsed by its target program."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_slo_provider.slo import read
from tests.docs.pages import PAGES, Block, blocks, blocks_of
from tests.docs.world import World
from tests.support import REPO, need

TUTORIAL = REPO / "docs" / "tutorial.md"  # tests/docs/test_tutorial.py runs the whole page
SHELL = {"cp", "docker", "export", "git", "kubectl", "make", "pg_dump", "promtool", "python", "pip", "airflow", "pipx"}
PLACES = {"PATH...": "slos/", "REF": "a.csv", "CUR": "b.csv"}


def ids(block: Block) -> str:
    return block.name


def is_dag_code(block: Block) -> bool:
    """Return whether it belongs in a DAG file: it creates tasks or watchers."""
    return bool(
        re.search(r"^from airflow_slo_provider\.(operators|sensors|triggers|notifications|deadlines)|@dag\b", block.text, re.M)
    )


def dag_code(block: Block) -> str:
    """Return it as a DAG file: unchanged, or as the body of a DAG."""
    if re.search(r"@dag\b|\bDAG\(", block.text):
        return block.text
    head = "from datetime import UTC, datetime\nfrom airflow.sdk import DAG\n"
    head += "with DAG('snippet', schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):\n"
    return head + textwrap.indent(block.text, "    ")


def dags_of(block: Block, world: World) -> dict[str, Any]:
    """Read a block as the DAG processor does.

    :raises AssertionError: if Airflow rejects it
    """
    from airflow.dag_processing.dagbag import DagBag

    file = world.home / "snippet.py"
    file.write_text(world.placed(dag_code(block)))
    bag = DagBag(dag_folder=file, safe_mode=False, load_op_links=False)
    assert not bag.import_errors, bag.import_errors
    return dict(bag.dags)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_every_block_has_a_known_language() -> None:
    """A block in another language would not be tested."""
    seen = {"python", "yaml", "bash", "sql", "text", "{toctree}", "{eval-rst}"}
    assert [block.name for page in PAGES for block in blocks_of(page) if block.language not in seen] == []


@pytest.mark.parametrize("block", [one for one in blocks("python") if is_dag_code(one) and one.page != TUTORIAL], ids=ids)
def test_dag_snippets_are_read_by_airflow(block: Block, world: World) -> None:
    dags = dags_of(block, world)
    assert dags and all(dag.tasks for dag in dags.values())


PLAIN = [one for one in blocks("python") if not is_dag_code(one) and one.page != TUTORIAL]


@pytest.mark.parametrize("page", sorted({one.page for one in PLAIN}), ids=lambda page: str(page.relative_to(REPO)))
def test_python_snippets_run(page: Path, world: World) -> None:
    """Run the blocks of a page in order in one process."""
    code = "\n".join(world.placed(block.text) for block in PLAIN if block.page == page)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=world.home,
        env=world.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def kind_of(document: Any) -> str:
    if not isinstance(document, dict):
        return "?"
    for key in ("apiVersion", "version"):
        if key in document:
            return f"{document[key]} {document.get('kind', '')}".strip()
    return ", ".join(document)


OURS = r"openslo/v1 .*|airflow-slo/v1 ErrorBudgetPolicy"
IMPORTED = r"prometheus/v1|sloth\.slok\.dev/v1 .*|sre\.google\.com/v2 .*|pyrra\.dev/v1alpha1 .*"


def kinds_of(block: Block) -> set[str]:
    return {kind_of(document) for document in yaml.safe_load_all(block.text)}


def check_slos(block: Block, tmp_path: Path) -> None:
    """Read the documents of one page together."""
    together = [one.text for one in blocks_of(block.page) if one.language == "yaml" and re.fullmatch(OURS, min(kinds_of(one)))]
    reading = read("\n---\n".join(together))
    assert (reading.faults, reading.warnings) == ([], [])


def check_import(block: Block, tmp_path: Path) -> None:
    """Parts of another tool's document that are not imported give warnings, which are accepted."""
    assert read(block.text).faults == []


def check_playbook(block: Block, tmp_path: Path) -> None:
    from airflow_slo_provider.incidents import load_playbooks

    (tmp_path / "playbook.yaml").write_text(block.text)
    assert load_playbooks(tmp_path / "playbook.yaml")


def check_rules(block: Block, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(block.text)
    done = subprocess.run(
        [need("promtool"), "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def check_rbac(block: Block, tmp_path: Path) -> None:
    """tests/unit/deployment/test_kubernetes_docs.py compares the granted permissions with the used ones."""
    assert {document["kind"] for document in yaml.safe_load_all(block.text)} <= {"Role", "RoleBinding"}


READERS = {
    OURS: check_slos,
    IMPORTED: check_import,
    r"airflow-slo/v1 IncidentPlaybook": check_playbook,
    r"groups": check_rules,
    r"rbac\.authorization\.k8s\.io/v1 .*": check_rbac,
}


@pytest.mark.parametrize("block", blocks("yaml"), ids=ids)
def test_yaml_snippets_are_read_by_their_reader(block: Block, tmp_path: Path) -> None:
    kinds = kinds_of(block)
    readers = {check for kind in kinds for pattern, check in READERS.items() if re.fullmatch(pattern, kind)}
    assert readers, f"nobody reads {kinds}: add a reader here"
    for check in readers:
        check(block, tmp_path)


@cache
def airflow_parser() -> Any:
    from airflow.cli.cli_parser import get_parser

    return get_parser()


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z]*):", (REPO / "Makefile").read_text(), re.M))


def check_command(words: list[str], block: Block) -> None:
    """Check that a command exists and accepts its arguments.

    :raises AssertionError: if not; with the block
    """
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program, arguments = words[0].rpartition("/")[2], words[1:]
    assert program in SHELL, f"{block.name}: {program} is no command that is known here"
    if program == "make":
        wrong = [word for word in arguments if "=" not in word and word not in make_targets()]
        assert not wrong, f"{block.name}: the Makefile has no {wrong}"
    elif program == "airflow":
        try:
            airflow_parser().parse_args([PLACES.get(word, word) for word in arguments])
        except SystemExit as error:
            pytest.fail(f"{block.name}: airflow {' '.join(arguments)}: {error}")
    elif program == "pip":
        extras = re.findall(r"\[([a-z,]+)\]", " ".join(arguments))
        known = (REPO / "pyproject.toml").read_text()
        assert all(re.search(rf"^{one} = \[", known, re.M) for part in extras for one in part.split(",")), block.name
    elif program == "python" and arguments[:2] == ["-m", "airflow_slo_provider"]:
        assert arguments[2] == "check" and "--spec" in arguments, block.name
    elif program == "python" and not arguments[0].startswith("-"):
        assert (REPO / arguments[0]).exists() or arguments[0].startswith(("benchmarks/", "dags/")), block.name


def commands_of(block: Block) -> list[list[str]]:
    lines = re.sub(r"\\\n", " ", block.text).splitlines()
    return [words for line in lines for part in re.split(r"\s&&\s", line) if (words := shlex.split(part, comments=True))]


@pytest.mark.parametrize("block", [one for one in blocks("bash") if one.page != TUTORIAL], ids=ids)
def test_shell_snippets_name_existing_commands(block: Block) -> None:
    commands = commands_of(block)
    assert commands
    for words in commands:
        check_command(words, block)


@pytest.mark.parametrize("line", sorted({
    line for page in PAGES for line in re.findall(r"`(airflow slo [a-z]+)", page.read_text())
}))  # fmt: skip
def test_commands_named_in_text_exist(line: str) -> None:
    from airflow_slo_provider.cli.definition import SLO_COMMANDS

    assert line.split()[2] in {command.name for command in SLO_COMMANDS}


def test_dag_files_named_in_text_exist() -> None:
    named = {(page.name, name) for page in PAGES for name in re.findall(r"dags/(\w+\.py)", page.read_text()) if page != TUTORIAL}
    assert {(page, name) for page, name in named if not (REPO / "dags" / name).exists()} == set()


def test_connections_in_shell_snippets_have_an_installed_provider() -> None:
    for block in blocks("bash"):
        for text in re.findall(r"AIRFLOW_CONN_\w+='(\{.*?\})'$", block.text, re.M):
            kind = json.loads(text.replace("'$PWD'", "/here"))["conn_type"]
            installed = re.findall(r"^pip install .*", block.page.read_text(), re.M)
            # A connection needs the provider of its type, which is not a dependency.
            assert any(f"apache-airflow-providers-{kind}" in line for line in installed), f"{block.name}: {kind} is not installed"


def test_kinds_of_checks_are_listed() -> None:
    from airflow_slo_provider.plugins.slo_page import checks_page

    text = (REPO / "docs" / "slo_pages.md").read_text().partition("| `kind` | recorded by |")[2].partition("\n\n")[0]
    listed = {kind for line in re.findall(r"^\| (`.*?) \|", text, re.M) for kind in re.findall(r"`(\w+)`", line)}
    literal = {
        kind
        for path in (REPO / "airflow_slo_provider").rglob("*.py")
        for kind in re.findall(r"CheckResult\(\s*kind=\"(\w+)\"", path.read_text())
    }
    shown = {*checks_page.KINDS_WITH_OWN_PAGE, *checks_page._FIRST}
    assert listed == {*shown, "error_budget", *literal} - {"promotion"}  # the provider itself records no promotion


def test_objective_names_match_the_comments_in_documents() -> None:
    text = "\n---\n".join(one.text for one in blocks("yaml") if one.page.name == "documents.md")
    catalog = read(text).catalog
    assert catalog
    slo = catalog["search-availability"]
    named = dict(re.findall(r"displayName: ([\w ]+?) +# (search-availability\[\d\])", text))
    assert {objective.display_name: name for name, objective in slo.parts()} == named and len(named) == 2
