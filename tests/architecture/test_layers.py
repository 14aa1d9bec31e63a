"""Who may import whom, read off the source: the table of layers, and no cycles."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import airflow_mlpipe

PACKAGE = "airflow_mlpipe"
ROOT = Path(airflow_mlpipe.__file__).parent

ROLES = {"operators", "decorators", "sensors", "triggers", "hooks", "links", "plugins", "cli"}
BELOW_PIPELINE = {
    "version",
    "get_provider_info",
    "errors",
    "access",
    "records",
    "handing",
    "runtime",
    "carrier",
    "model",
    "reuse",
    "store",
    "targets",
}

# Layer: the layers that it may import besides itself.
LAYERS: dict[str, set[str]] = {
    "version": set(),
    "get_provider_info": set(),
    "errors": set(),
    "access": {"errors"},
    "records": {"errors"},
    "handing": {"records"},
    "runtime": {"access", "errors", "handing", "records"},
    "carrier": {"access", "errors", "handing", "records", "runtime", "store"},
    "model": {"access", "errors", "runtime"},
    "reuse": {"errors"},
    "store": {"access", "errors", "model"},
    "targets": {"access", "errors", "handing", "records", "model", "store"},
    "pipeline": BELOW_PIPELINE,
    **{role: BELOW_PIPELINE | ROLES | {"pipeline"} for role in ROLES},
}

STANDARD_LIBRARY_ONLY = {
    "version",
    "get_provider_info",
    "errors",
    "access",
    "records",
    "handing",
    "runtime",
    "carrier",
}
AIRFLOW_AWARE = ROLES | {"pipeline"}


@dataclass(frozen=True)
class Import:
    """One import statement's target. ``runs`` is False below ``if TYPE_CHECKING``."""

    name: str
    at_module_level: bool
    runs: bool


def imports_of(source: str, module: str, is_package: bool = False) -> list[Import]:
    """Every import in *source*, absolute; of ``from a import b`` both ``a`` and ``a.b``."""
    return list(_walk(ast.parse(source), module, is_package, at_module_level=True, runs=True))


def _walk(
    node: ast.AST, module: str, is_package: bool, *, at_module_level: bool, runs: bool
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, at_module_level, runs)
        if isinstance(child, ast.ImportFrom):
            base = _absolute(child, module, is_package)
            yield Import(base, at_module_level, runs)
            for alias in child.names:
                yield Import(f"{base}.{alias.name}", at_module_level, runs)
        yield from _walk(
            child,
            module,
            is_package,
            at_module_level=at_module_level and not inside,
            runs=runs and not for_types,
        )


def _absolute(statement: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not statement.level:
        return statement.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - statement.level + is_package]
    return ".".join([*kept, *([statement.module] if statement.module else [])])


def layer_of(module: str) -> str:
    """The second part of a module's name; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def breaches(module: str, imports: list[Import]) -> list[str]:
    """What *module* imports and may not, as sentences."""
    layer = layer_of(module)
    if layer not in LAYERS:
        return [f"{module} is in no layer of the table"]
    found = []
    for item in imports:
        top = item.name.split(".")[0]
        if top == PACKAGE and item.name != PACKAGE:
            target = layer_of(item.name)
            if target in LAYERS and target not in LAYERS[layer] | {layer}:
                found.append(f"{module} imports {item.name}")
        if top == "airflow" and layer not in AIRFLOW_AWARE:
            found.append(f"{module} imports {item.name}")
        stranger = top not in sys.stdlib_module_names | {PACKAGE, ""}
        if stranger and item.at_module_level and item.runs and layer in STANDARD_LIBRARY_ONLY:
            found.append(f"{module} imports {item.name}")
    return found


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The cycles that a depth-first walk meets, each from the module at which it closes."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for target in sorted(graph.get(module, set())):
                visit(target, [*path, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def load_graph(modules: Mapping[str, list[Import]]) -> dict[str, set[str]]:
    """Which modules of the package a module needs to be loaded itself; parents are left out."""
    return {
        module: {
            item.name
            for item in imports
            if item.at_module_level
            and item.runs
            and item.name in modules
            and not module.startswith(f"{item.name}.")
        }
        for module, imports in modules.items()
    }


@pytest.fixture(scope="module")
def modules() -> dict[str, list[Import]]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        found[module] = imports_of(path.read_text(), module, is_package)
    return found


def test_every_module_keeps_to_its_layer(modules: dict[str, list[Import]]) -> None:
    found = [breaches(module, imports) for module, imports in modules.items() if module != PACKAGE]
    assert [sentence for sentences in found for sentence in sentences] == []


def test_the_package_itself_loads_only_its_version(modules: dict[str, list[Import]]) -> None:
    loads = {item.name for item in modules[PACKAGE] if item.at_module_level and item.runs}
    assert {name for name in loads if name.startswith(PACKAGE)} == {
        "airflow_mlpipe.version",
        "airflow_mlpipe.version.__version__",
    }
    assert {name.split(".")[0] for name in loads} - {PACKAGE} <= sys.stdlib_module_names


def test_no_modules_need_each_other(modules: dict[str, list[Import]]) -> None:
    assert cycles(load_graph(modules)) == []


def test_no_module_is_a_drawer(modules: dict[str, list[Import]]) -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [module for module in modules if drawers & set(module.split("."))] == []


@pytest.mark.parametrize(
    ("module", "source", "imported"),
    [
        ("errors", "from airflow_mlpipe.records import to_json", "airflow_mlpipe.records"),
        ("runtime.x", "import airflow_mlpipe.store.layout", "airflow_mlpipe.store.layout"),
        ("runtime.x", "import fsspec", "fsspec"),
        ("runtime.x", "def f():\n    from airflow.sdk import DAG", "airflow.sdk"),
        ("model.x", "from ..reuse import recipe", "airflow_mlpipe.reuse.recipe"),
        ("model.x", "from airflow_mlpipe import store", "airflow_mlpipe.store"),
        ("reuse.x", "from airflow_mlpipe.model.data import PipelineData", "airflow_mlpipe.model.data"),
        ("store.x", "if TYPE_CHECKING:\n    from airflow.sdk import DAG", "airflow.sdk"),
        ("targets.x", "from airflow_mlpipe.reuse.source import Code", "airflow_mlpipe.reuse.source"),
        (
            "pipeline.x",
            "def f():\n    import airflow_mlpipe.operators.step",
            "airflow_mlpipe.operators.step",
        ),
    ],
)
def test_an_import_against_the_table_is_found(module: str, source: str, imported: str) -> None:
    name = f"{PACKAGE}.{module}"
    assert f"{name} imports {imported}" in breaches(name, imports_of(source, name))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("runtime.x", "def f():\n    import pandas"),
        ("store.x", "from ..model.data import PipelineData"),
        ("sensors.x", "from airflow_mlpipe.pipeline import settings\nfrom airflow.sdk import DAG"),
    ],
)
def test_an_import_that_the_table_allows_is_not(module: str, source: str) -> None:
    name = f"{PACKAGE}.{module}"
    assert breaches(name, imports_of(source, name)) == []


def test_a_module_outside_the_table_is_found() -> None:
    assert breaches("airflow_mlpipe.extras.x", []) == ["airflow_mlpipe.extras.x is in no layer of the table"]


def test_a_cycle_is_found_and_a_lazy_import_breaks_it() -> None:
    first, second = "airflow_mlpipe.store.a", "airflow_mlpipe.store.b"
    eager = {
        first: imports_of("from airflow_mlpipe.store import b", first),
        second: imports_of("import airflow_mlpipe.store.a", second),
    }
    assert cycles(load_graph(eager)) == [[first, second, first]]
    lazy = {**eager, second: imports_of("def f():\n    import airflow_mlpipe.store.a", second)}
    assert cycles(load_graph(lazy)) == []
