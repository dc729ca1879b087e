"""Refuse what loads with an operator: a DAG file that names one must not pay for pandas, nor for our own domain.

Import Linter (see pyproject.toml) watches who may know whom; it cannot tell an import at module top from one inside the
function that needs it. This follows imports at module top, through our own modules, from every adapter.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PACKAGE = "airflow_slo_provider"
ADAPTERS = (
    *("cli", "get_provider_info", "hooks", "links", "notifications"),
    *("operators", "plugins", "runtime", "sensors", "triggers"),
)
HEAVY = frozenset(
    {"aiohttp", "duckdb", "httpx", "kubernetes", "mlflow", "numpy", "opentelemetry", "pandas", "plotly", "prometheus_api_client"}
    | {"pyarrow", "pyspark", "requests", "scipy", "sklearn", "sqlalchemy"}
)
# Light by name, and bring one of the above along.
COSTLY = ("airflow.providers.common.sql", "airflow.providers.cncf.kubernetes")
# What a DAG file names, and what that may load with it. Every frozen dataclass takes up to a millisecond to make, so the domain
# waits for a task, but for constants and checks of parameters that are needed when a DAG file is read.
NAMED = ("operators", "sensors")
BESIDE = (*NAMED, "hooks", "links", "runtime")
LIGHT = frozenset(
    {"core.lazy_names", "core.moved_modules", "core.text_lists", "deployment.registries.names", "evaluation.verdict.outcomes"}
    | {"exceptions", "freshness.limits", "tracing.stores.kinds"}
)


def is_light(room: str) -> bool:
    """Whether a module, by its name without the package's, may load with a DAG file; so may the packages it is in."""
    return any(one == room or one.startswith(room + ".") for one in LIGHT)


def top_imports(tree: ast.Module) -> Iterator[str]:
    """Yield every module, and every ``module.name``, that is imported when the module itself is."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                waiting += getattr(node, part, [])
            for handler in getattr(node, "handlers", []):
                waiting += handler.body


def heavy(module: str) -> str | None:
    """The heavy library that ``module`` is or brings along."""
    if module.partition(".")[0] in HEAVY:
        return module.partition(".")[0]
    return next((part for part in COSTLY if module == part or module.startswith(part + ".")), None)


def ways_of(adapter: str, imports: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return our modules that load with an adapter, each with the way to it.

    :param imports: what each module of the package imports at its top, by dotted name
    """
    ways, waiting = {adapter: [adapter]}, [adapter]
    while waiting:
        module = waiting.pop(0)
        for target in _loads(module, imports):
            if target in imports and target not in ways:
                ways[target] = [*ways[module], target]
                waiting.append(target)
    return ways


def _loads(module: str, imports: Mapping[str, Iterable[str]]) -> list[str]:
    return [*imports[module], *([module.rpartition(".")[0]] if "." in module else [])]


def offences(sources: Mapping[str, str]) -> list[str]:
    """Return a sentence for each heavy library that an adapter loads, and each room of the domain that an operator does.

    :param sources: text of each module of the package, by dotted name
    """
    imports = {name: list(top_imports(ast.parse(text, name))) for name, text in sources.items()}
    found = []
    for adapter in sorted(name for name in sources if name.split(".")[1:2] and name.split(".")[1] in ADAPTERS):
        named = set()
        for module, way in ways_of(adapter, imports).items():
            room = module.partition(".")[2]
            if adapter.split(".")[1] in NAMED and room and room.split(".")[0] not in BESIDE and not is_light(room):
                found.append(f"{' -> '.join(way)}: {room} would load with a DAG file; import it in the function that needs it")
            for target in _loads(module, imports):
                library = heavy(target)
                if library and library not in named:
                    named.add(library)
                    found.append(f"{' -> '.join(way)} loads {library}: import it in the function that needs it")
    return found


def read_package(root: Path) -> dict[str, str]:
    """Read the text of every module under ``root``, by dotted name."""
    sources = {}
    for path in sorted(root.rglob("*.py")):
        name = ".".join((root.name, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def main() -> int:
    sources = read_package(Path(PACKAGE))
    found = offences(sources)
    print(*found, f"{len(sources)} modules, {len(found)} imports that load too much with an adapter", sep="\n")
    return bool(found) or not sources


if __name__ == "__main__":
    sys.exit(main())
