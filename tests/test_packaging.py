"""The package as others see it: metadata, provider discovery, constraints and tools."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import airflow_slo_provider
from airflow_slo_provider.get_provider_info import get_provider_info
from tests.support import REPO

NAME = "airflow-slo-provider"


def run(*command: str, env: dict[str, str] | None = None, cwd: Path = REPO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **(env or {})}, timeout=120, check=False
    )


def require_installed() -> None:
    try:
        importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        message = f"{NAME} is not installed in {sys.prefix}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def airflow_schema(name: str) -> dict:
    import airflow

    return json.loads((Path(airflow.__file__).parent / name).read_text())


class TestProviderInfo:
    def test_provider_info_matches_airflows_schema(self):
        jsonschema.validate(get_provider_info(), airflow_schema("provider_info.schema.json"))

    def test_connection_types_match_the_schema_of_provider_yaml(self):
        # Airflow silently ignores unknown keys; this schema rejects them.
        schema = airflow_schema("provider.yaml.schema.json")["properties"]["connection-types"]
        types = get_provider_info()["connection-types"]
        assert "prometheus" in {one["connection-type"] for one in types}
        jsonschema.validate(types, schema)
        known = set(schema["items"]["properties"])
        # Airflow 3.2 ignores newer keys of a form.
        assert importlib.metadata.version("apache-airflow").startswith("3.2.") or all(set(one) <= known for one in types)

    def test_provider_info_names_existing_modules_and_classes(self):
        info = get_provider_info()
        names = [
            name for part in ("operators", "sensors", "hooks", "triggers") for one in info[part] for name in one["python-modules"]
        ]
        names += info["cli"] + [one["hook-class-name"] for one in info["connection-types"]]
        code = "import pkgutil, sys\nfor name in sys.argv[1:]: print(pkgutil.resolve_name(name))"
        done = run(sys.executable, "-c", code, *names)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == len(names) > 4

    def test_hook_class_matches_its_connection_type(self):
        from airflow_slo_provider.hooks.prometheus import PrometheusHook

        form = next(one for one in get_provider_info()["connection-types"] if one["connection-type"] == "prometheus")
        assert form["hook-class-name"] == f"{PrometheusHook.__module__}.{PrometheusHook.__qualname__}"
        assert PrometheusHook.conn_type == "prometheus"
        assert PrometheusHook.hook_name == form["hook-name"]

    def test_provider_info_imports_no_airflow(self):
        # Airflow calls it while it reads its configuration; importing Airflow there would be a circular import.
        code = (
            "import sys; from airflow_slo_provider.get_provider_info import get_provider_info; get_provider_info();"
            "print([m for m in sys.modules if m == 'airflow' or m.startswith(('airflow.', 'sqlalchemy', 'requests', 'pandas'))])"
        )
        done = run(sys.executable, "-c", code)
        assert done.stdout.strip() == "[]", done.stdout + done.stderr


class TestDiscovery:
    def test_airflow_discovers_the_provider_its_hook_and_configuration(self, tmp_path):
        require_installed()
        code = (
            "import json\n"
            "from airflow.providers_manager import ProvidersManager\n"
            "from airflow.configuration import conf\n"
            "manager = ProvidersManager()\n"
            "print(json.dumps({'version': manager.providers['airflow-slo-provider'].version,"
            " 'hooks': {k: v.hook_class_name for k, v in manager.hooks.items() if v},"
            " 'cli': [f.__name__ for f in manager.cli_command_functions],"
            " 'ledger_url': conf.get('slo', 'ledger_url')}))"
        )
        done = run(sys.executable, "-c", code, env={"AIRFLOW_HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["version"] == airflow_slo_provider.__version__
        assert found["hooks"]["prometheus"] == "airflow_slo_provider.hooks.prometheus.PrometheusHook"
        assert "get_slo_cli_commands" in found["cli"]
        assert found["ledger_url"] == ""

    def test_airflow_providers_command_describes_the_provider(self, tmp_path):
        require_installed()
        done = run(
            sys.executable,
            "-m",
            "airflow",
            "providers",
            "get",
            NAME,
            "--full",
            "--output",
            "json",
            env={"AIRFLOW_HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        described = json.loads(done.stdout[done.stdout.index("[{") :])[0]
        assert described["package-name"] == NAME
        assert not re.search("error|Traceback", done.stderr), done.stderr


class TestMetadata:
    def test_version_entry_point_and_documentation(self):
        require_installed()
        distribution = importlib.metadata.distribution(NAME)
        assert distribution.version == airflow_slo_provider.__version__
        points = [point.value for point in distribution.entry_points if point.group == "apache_airflow_provider"]
        assert points == ["airflow_slo_provider.get_provider_info:get_provider_info"]
        assert any(url.startswith("Documentation, https://") for url in distribution.metadata.get_all("Project-URL"))

    def test_package_is_marked_as_typed(self):
        assert (REPO / "airflow_slo_provider" / "py.typed").exists()

    @pytest.mark.parametrize(("airflow", "version"), [("", "3.3.2"), ("3.2", "3.2.2")])
    def test_constraints_contain_only_names_and_versions(self, airflow, version):
        from tests.wheel import constraints

        lines = [line for line in constraints(airflow).splitlines() if not line.startswith("#")]
        wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9A-Za-z.+!]+", line)]
        assert not wrong
        assert [line for line in lines if line.startswith("apache-airflow==")] == [f"apache-airflow=={version}"]
        assert len({line.partition("==")[0] for line in lines}) == len(lines) > 100
        assert not any(line.startswith(NAME) for line in lines)

    def test_licence_is_complete(self):
        text = (REPO / "LICENSE").read_text()
        assert "Apache License" in text
        assert "END OF TERMS AND CONDITIONS" in text


class TestImportCheck:
    @pytest.fixture
    def offences(self):
        sys.path.insert(0, str(REPO / "tools"))
        try:
            from check_imports import offences
        finally:
            sys.path.pop(0)
        return lambda **modules: offences(
            {f"airflow_slo_provider.{name.replace('__', '.')}": text for name, text in modules.items()}
        )

    @pytest.mark.parametrize(
        "text",
        [
            "import pandas as pd",
            "from sqlalchemy.orm import Session",
            "try:\n    import scipy.stats\nexcept ImportError:\n    scipy = None",
            "class A:\n    import numpy",
            "if True:\n    import requests",
            "with open('x') as f:\n    import sklearn",
            "from airflow.providers.common.sql.hooks.sql import DbApiHook",
        ],
    )
    def test_import_check_reports_heavy_imports_of_an_operator(self, offences, text):
        assert len(offences(operators__some=text)) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "def f():\n    import pandas",
            "async def f():\n    import httpx",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas",
            "import json",
            "class A:\n    def f(self):\n        from sqlalchemy import select",
        ],
    )
    def test_import_check_accepts_lazy_imports(self, offences, text):
        assert offences(operators__some=text) == []

    def test_import_check_follows_modules_of_the_package(self, offences):
        domain = {"ledger": "from airflow_slo_provider.ledger.store import A", "ledger__store": "import sqlalchemy"}
        assert offences(hooks__some="def f():\n    from airflow_slo_provider.ledger import A", **domain) == []
        for text in ("from airflow_slo_provider import ledger", "import airflow_slo_provider.ledger.store"):
            assert len(offences(hooks__some=text, **domain)) == 1
        assert (
            "hooks.some -> airflow_slo_provider.ledger.records"
            in offences(hooks__some="from airflow_slo_provider.ledger.records import B", ledger__records="", **domain)[0]
        )

    def test_operators_load_no_room_of_the_domain(self, offences):
        domain = {"results": "", "freshness": "", "freshness__limits": "", "triggers": "", "triggers__some": "", "hooks": ""}
        light = (
            "from airflow_slo_provider.freshness.limits import read_quantile\ndef f():\n    import airflow_slo_provider.results"
        )
        assert offences(operators__some=light, **domain) == []
        for text in ("from airflow_slo_provider.results import Verdict", "import airflow_slo_provider.triggers.some"):
            assert offences(hooks__some=text, **domain) == []
            for named in ("operators__some", "sensors__some"):
                assert "would load with a DAG file" in offences(**{named: text}, **domain)[0]
        domain["hooks__some"] = "import airflow_slo_provider.results"
        way = offences(operators__some="import airflow_slo_provider.hooks.some", **domain)
        assert "operators.some -> airflow_slo_provider.hooks.some -> airflow_slo_provider.results: results would" in way[0]


class TestTools:
    def test_find_python_uses_the_configured_python(self):
        done = run("sh", "tools/find_python.sh", env={"PYTHON": sys.executable})
        assert done.stdout.strip() == sys.executable

    def test_find_python_finds_a_python_on_path(self):
        done = run("sh", "tools/find_python.sh", env={"PYTHON": ""})
        assert done.returncode == 0, done.stderr
        assert run(done.stdout.strip(), "-c", "import sys; sys.exit(sys.version_info < (3, 11))").returncode == 0

    def test_find_python_rejects_another_program(self):
        done = run("sh", "tools/find_python.sh", env={"PYTHON": "/bin/false"})
        assert done.returncode == 1
        assert "/bin/false" in done.stderr

    def test_ci_script_is_valid_shell(self):
        assert [run("bash", "-n", script).returncode for script in (".ci/run", ".ci/older_airflow")] == [0, 0]
        assert os.access(REPO / ".ci" / "run", os.X_OK)


class TestHouse:
    """The layout rules of CONTRIBUTING.md."""

    def test_no_room_has_more_than_sixteen_files(self):
        rooms = [path.parent for path in (REPO / "airflow_slo_provider").rglob("__init__.py")]
        sizes = {room.relative_to(REPO).as_posix(): len({*room.glob("*.py")}) - 1 for room in rooms}
        assert {room: size for room, size in sizes.items() if size > 16} == {}
        assert len(sizes) > 40

    def test_contributing_names_every_room(self):
        page = (REPO / "CONTRIBUTING.md").read_text().partition("Walls, checked")[0]
        package = REPO / "airflow_slo_provider"
        rooms = {path.parent.name for path in package.rglob("__init__.py")} - {package.name}
        assert {room for room in rooms if f"{room}/" not in page} == set()

    def test_import_cycles_are_reported(self):
        sys.path.insert(0, str(REPO / "tools"))
        try:
            from no_circles import circles
        finally:
            sys.path.pop(0)
        line = {"a": {"b"}, "b": {"c"}, "c": set()}
        assert circles(line) == []
        assert circles({**line, "c": {"a"}}) == [["a", "b", "c"]]
        assert circles({**line, "c": {"b"}}) == [["b", "c"]]
        assert circles({"a": {"a"}}) == [["a"]]
