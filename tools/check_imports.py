"""Reject imports that load with an operator: a DAG file that uses one must load neither pandas nor our own domain.

Import Linter (see pyproject.toml) checks which packages may import each other; it cannot distinguish an import at module top
from one inside a function. This tool follows imports at module top, through our own modules, from every adapter.
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
# Packages that import one of the above.
COSTLY = ("airflow.providers.common.sql", "airflow.providers.cncf.kubernetes")
# Rooms that a DAG file imports, and rooms that may load with them. Creating a frozen dataclass takes up to a millisecond, so the
# domain loads when a task runs, except for constants and parameter checks that are needed when a DAG file is read.
IMPORTED_BY_DAGS = ("operators", "sensors")
LOADED_WITH_DAGS = (*IMPORTED_BY_DAGS, "hooks", "links", "runtime")
LIGHT = frozenset(
    {"core.lazy_names", "core.moved_modules", "core.text_lists", "deployment.registries.names", "evaluation.verdict.outcomes"}
    | {"exceptions", "freshness.limits", "tracing.stores.kinds"}
)


def is_light(room: str) -> bool:
    """Return whether a module may load with a DAG file; so may the packages that contain it.

    :param room: name of the module without that of the package
    """
    return any(name == room or name.startswith(room + ".") for name in LIGHT)


def top_imports(tree: ast.Module) -> Iterator[str]:
    """Yield every module, and every ``module.name``, that is imported together with a module."""
    queue: list[ast.stmt] = list(tree.body)
    while queue:
        node = queue.pop(0)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            queue += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                queue += getattr(node, part, [])
            for handler in getattr(node, "handlers", []):
                queue += handler.body


def heavy_library(module: str) -> str | None:
    """Return the heavy library that ``module`` is or imports."""
    if module.partition(".")[0] in HEAVY:
        return module.partition(".")[0]
    return next((part for part in COSTLY if module == part or module.startswith(part + ".")), None)


def import_paths(adapter: str, imports: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return our modules that load with an adapter, each with the path of imports to it.

    :param imports: the imports at the top of each module of the package, by dotted name
    """
    paths, queue = {adapter: [adapter]}, [adapter]
    while queue:
        module = queue.pop(0)
        for target in _loads(module, imports):
            if target in imports and target not in paths:
                paths[target] = [*paths[module], target]
                queue.append(target)
    return paths


def _loads(module: str, imports: Mapping[str, Iterable[str]]) -> list[str]:
    return [*imports[module], *([module.rpartition(".")[0]] if "." in module else [])]


def offences(sources: Mapping[str, str]) -> list[str]:
    """Return a message for each heavy library that an adapter loads, and each room of the domain that an operator loads.

    :param sources: text of each module of the package, by dotted name
    """
    imports = {name: list(top_imports(ast.parse(text, name))) for name, text in sources.items()}
    found = []
    for adapter in sorted(name for name in sources if name.split(".")[1:2] and name.split(".")[1] in ADAPTERS):
        reported = set()
        for module, path in import_paths(adapter, imports).items():
            room = module.partition(".")[2]
            if (
                adapter.split(".")[1] in IMPORTED_BY_DAGS
                and room
                and room.split(".")[0] not in LOADED_WITH_DAGS
                and not is_light(room)
            ):
                found.append(f"{' -> '.join(path)}: {room} would load with a DAG file; import it in the function that needs it")
            for target in _loads(module, imports):
                library = heavy_library(target)
                if library and library not in reported:
                    reported.add(library)
                    found.append(f"{' -> '.join(path)} loads {library}: import it in the function that needs it")
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
