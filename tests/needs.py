"""Report missing programs and data, and the tests that are skipped: ``python -m tests.needs``. Reads the source of the tests.

A test needs what it, its fixtures and the functions it calls request with ``need``, ``peer`` and ``acceptance``.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tests import machine, peers, wheel

Place = tuple[str, str]  # module, and a name in it: function, or Class.method

DATA = "acceptance data"
_THEMSELVES = {"tests.needs", "tests.peers", "tests.support", "tests.test_needs", "tests.wheel"}
_MAKING = ("__enter__", "__init__", "__post_init__")
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Unit:
    """A function or method.

    :param requests: what it requests itself
    :param optional: what it uses only if available
    :param names: functions and classes it mentions
    :param methods: methods it calls
    :param own: names of its own class that it mentions
    :param fixtures: its fixtures
    """

    requests: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    fixtures: set[str] = field(default_factory=set)

    def read(self, nodes: Iterable[ast.AST], foreign: set[str]) -> None:
        """Read names and requests from code.

        :param foreign: names imported from other packages, whose attributes are not our methods
        """
        for node in (inner for outer in nodes for inner in ast.walk(outer)):
            if isinstance(node, ast.Name):
                self.names.add(node.id)
            elif isinstance(node, ast.arg):
                self.fixtures.add(node.arg)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
                self.own.add(node.attr)
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) not in foreign:
                    self.methods.add(node.func.attr)
                self._call(ast.unparse(node.func), [one.value for one in node.args if isinstance(one, ast.Constant)])

    def _call(self, function: str, literals: list[object]) -> None:
        if function == "acceptance":
            self.requests.add(DATA)
        elif function == "need":
            self.requests.add(str(literals[0]))
        elif function == "peer":
            self.requests.add(f".peers/{literals[0]}")
        elif function == "wheel.make":
            self.requests.add(f".peers/{wheel.NAME}")
        elif function == "find" and literals:
            package = next((programs for programs in machine.PROGRAMS.values() if literals[0] in programs), ())
            self.optional |= set(package)
        elif function.endswith(("mark.usefixtures", ".getfixturevalue")):
            self.fixtures |= set(map(str, literals))


class Suite:
    """The needs of each function of the tests.

    :param sources: text of each module of ``tests``, by dotted name
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._units: dict[Place, Unit] = {}
        self._imports: dict[str, dict[str, Place]] = {}
        self._methods: dict[str, list[Place]] = {}
        self._always: dict[str, set[str]] = {}  # fixtures of all tests of a module
        self._plugins: list[str] = []
        for module, text in sources.items():
            if module not in _THEMSELVES:
                self._read(module, ast.parse(text, module))

    @classmethod
    def here(cls) -> Suite:
        """Return the suite of this checkout."""
        paths = {path.relative_to(machine.REPO): path for path in sorted((machine.REPO / "tests").rglob("*.py"))}
        return cls({".".join(name.with_suffix("").parts): path.read_text(encoding="utf-8") for name, path in paths.items()})

    def tests(self, *what: str) -> list[str]:
        """Return the tests that need one of some things, as ``path::name``."""
        needing = [place for place, needs in self.needs.items() if needs & set(what) and is_test(place)]
        return sorted(f"{module.replace('.', '/')}.py::{name.replace('.', '::')}" for module, name in needing)

    @cached_property
    def needs(self) -> dict[Place, set[str]]:
        """Return the needs of each function."""
        found = {place: set(unit.requests) for place, unit in self._units.items()}
        after = {place: set(self._leads_to(place, unit)) for place, unit in self._units.items()}
        changed = True
        while changed:
            changed = False
            for place, others in after.items():
                more = set().union(*(found[one] for one in others)) - found[place] - self._units[place].optional
                found[place] |= more
                changed = changed or bool(more)
        return found

    def _read(self, module: str, tree: ast.Module) -> None:
        ours = self._imports[module] = {}
        foreign: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                ours |= {one.asname or one.name: (str(node.module), one.name) for one in node.names}
            elif isinstance(node, ast.Import | ast.ImportFrom):
                foreign |= {one.asname or one.name.partition(".")[0] for one in node.names}
        for node in tree.body:
            if isinstance(node, _FUNCTION):
                self._function(module, node.name, node, foreign)
            elif isinstance(node, ast.ClassDef):
                for inner in (inner for inner in node.body if isinstance(inner, _FUNCTION)):
                    self._function(module, f"{node.name}.{inner.name}", inner, foreign)
                    self._methods.setdefault(inner.name, []).append((module, f"{node.name}.{inner.name}"))
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytest_plugins":
                self._plugins += ast.literal_eval(node.value)

    def _function(self, module: str, name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, foreign: set[str]) -> None:
        made = self._units[module, name] = Unit()
        made.read([*node.args.args, *node.args.kwonlyargs, *node.decorator_list, *node.body], foreign)
        if any("autouse=True" in ast.unparse(one) for one in node.decorator_list):
            self._always.setdefault(module, set()).add(node.name)

    def _leads_to(self, place: Place, unit: Unit) -> Iterator[Place]:
        module, name = place
        parts = module.split(".")
        homes = [*self._plugins, *(".".join([*parts[:depth], "conftest"]) for depth in range(1, len(parts)))]
        fixtures = unit.fixtures | (self._always.get(module, set()) if is_test(place) else set())
        places = [self._imports.get(home, {}).get(one, (home, one)) for one in fixtures for home in homes]
        places += [(module, f"{name.partition('.')[0]}.{one}") for one in fixtures | unit.own]
        for one in unit.names | fixtures:
            home, there = self._imports[module].get(one, (module, one))
            places += [(home, there), *((home, f"{there}.{how}") for how in _MAKING)]
        for one in unit.methods:
            if len(self._methods.get(one, ())) == 1:  # a name of several classes is ambiguous
                places += self._methods[one]
        yield from (one for one in places if one in self._units)


def is_test(place: Place) -> bool:
    """Return whether pytest runs it."""
    return all(part.rpartition(".")[2].startswith("test_") for part in place)


def missing() -> dict[str, list[str]]:
    """Return what is missing on this machine, by remedy."""
    found = {f"apt-get install {package}": programs for package, programs in machine.missing_programs().items()}
    if not machine.acceptance_home().is_dir():
        found[f"SLO_ACCEPTANCE_DIR={machine.acceptance_home()}"] = [DATA]
    if peers.may_install():  # a test that needs an environment creates it
        return found
    environments = [name for name in peers.PROGRAMS if not peers.is_made(name)] + [wheel.NAME] * (not wheel.is_made())
    return found | {f"python -m tests.peers {name}": [f".peers/{name}"] for name in environments}


def report_lines(lacking: Mapping[str, list[str]], suite: Suite) -> Iterator[str]:
    """Yield a line for each missing thing that skips a test: name, remedy, number of skipped tests and their files."""
    for remedy, what in lacking.items():
        tests = suite.tests(*what)
        files = sorted({one.partition("::")[0] for one in tests})
        where = files if len(files) <= 2 else sorted({one.rpartition("/")[0] for one in files})
        if tests:
            yield f"{', '.join(what)} ({remedy}): {len(tests)} in {', '.join(where)}"


def main() -> None:
    """Print what is missing."""
    lines = list(report_lines(missing(), Suite.here()))
    if not lines:
        print("test: nothing that a test needs is missing on this machine")
        return
    fate = "fail, as CI is set" if os.environ.get("CI") else "are skipped"
    print(f"test: missing on this machine, with how to get it, and tests that {fate}:")
    print(*(f"test:   {line}" for line in lines), sep="\n", flush=True)


if __name__ == "__main__":
    main()
