"""Lazily imported names of packages: each resolves, and no module hides one."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

FACES = ("drift", "evaluation", "freshness", "incidents", "slo")


def package(name: str) -> ModuleType:
    return import_module(f"airflow_slo_provider.{name}")


@pytest.mark.parametrize("face", FACES)
def test_lazy_names_all_resolve_and_none_is_a_module(face: str) -> None:
    found = package(face)
    assert len(found.__all__) == len(set(found.__all__)) > 4
    for name in found.__all__:
        assert not isinstance(getattr(found, name), ModuleType)
        assert name in dir(found)


@pytest.mark.parametrize("face", FACES[1:])
def test_lazy_names_match_type_checking_imports(face: str) -> None:
    """The imports for type checkers and the table of modules say the same."""
    found = package(face)
    tree = ast.parse(Path(str(found.__file__)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(seen) == sorted(found.__all__)
    for name, module in seen.items():
        assert getattr(found, name) is getattr(import_module(module), name)
        # Not only handed on: made there.
        assert getattr(getattr(found, name), "__module__", module) in (module, "builtins")


@pytest.mark.parametrize("face", FACES)
def test_lazy_names_unknown_name_raises_attribute_error(face: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'airflow_slo_provider.{face}' has no attribute 'Nothing'"):
        _ = package(face).Nothing


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("slo.Outcome", "slo.GateOutcome"),
        ("slo.Span", "slo.WindowSpan"),
        ("slo.decisions.Outcome", "slo.GateOutcome"),
        ("evaluation.Outcome", "evaluation.ModelVerdict"),
        ("evaluation.comparing.Outcome", "evaluation.ModelVerdict"),
        ("drift.State", "drift.DriftState"),
        ("drift.results.State", "drift.DriftState"),
        ("incidents.State", "incidents.StepState"),
        ("incidents.model.State", "incidents.StepState"),
    ],
)
def test_renamed_enum_works_under_its_old_name_with_a_warning(old: str, new: str) -> None:
    (old_module, old_name), (new_module, new_name) = old.rsplit(".", 1), new.rsplit(".", 1)
    said = rf"airflow_slo_provider[.]{new_module}[.]{old_name} is now {new_name}, and its old name will be removed"
    with pytest.warns(DeprecationWarning, match=said):
        found = getattr(package(old_module), old_name)
    assert found is getattr(package(new_module), new_name)


@pytest.mark.parametrize(("face", "name"), [("slo", "rules"), ("incidents", "timeline")])
def test_lazy_names_function_survives_import_of_module_of_same_name(face: str, name: str) -> None:
    program = (
        f"import airflow_slo_provider.{face}.{name}\n"
        f"from airflow_slo_provider import {face}\n"
        f"from airflow_slo_provider.{face}.{name} import {name}\n"
        f"assert {face}.{name} is {name} and callable({name})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_import_of_one_name_loads_no_other_modules() -> None:
    program = "import sys, airflow_slo_provider.incidents.serving; print([m for m in sys.modules if 'slo_provider.' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    ours = ("core", "core.lazy_names", "core.moved_modules", "incidents", "incidents.serving")
    assert sorted(ast.literal_eval(done.stdout)) == [f"airflow_slo_provider.{name}" for name in ours]
