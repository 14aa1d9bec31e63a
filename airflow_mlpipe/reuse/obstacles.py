"""What of a module cannot be shipped to a step, and through which names one gets there."""

from __future__ import annotations

import ast
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from airflow_mlpipe.reuse.module_text import origin, stays_in_pipeline, walk_statements
from airflow_mlpipe.reuse.outline import Outline, Statement, import_names, is_import, running_nodes

_PACKAGE = "airflow_mlpipe"


@dataclass(frozen=True)
class Obstacle:
    """Why something cannot be shipped.

    ``what`` continues a sentence about the last of ``through``, the names of the module that lead there, each
    used by the one before; ``advice`` ends it.
    """

    what: str
    advice: str
    through: tuple[str, ...] = ()

    def behind(self, name: str) -> Obstacle:
        """The same, seen from whoever uses *name*."""
        return replace(self, through=(name, *self.through))


class Obstacles:
    """The obstacles of one module: by the name that cannot be shipped, and by statement."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._packages = {
            name
            for item in outline.statements
            for name, alias in import_names(item)
            if isinstance(item.node, ast.Import) and _is_package(alias)
        }
        self.names: dict[str, Obstacle] = {}
        self.statements: dict[Statement, Obstacle] = {}
        self._spread()

    def of(self, statement: Statement) -> Obstacle | None:
        """What *statement*, which need not be one of the outline's, cannot do without; names aside."""
        return (
            self._of_inner_imports(statement)
            or self._of_package(statement)
            or _of_files(statement)
            or self._of_calls(statement)
        )

    def _of_inner_imports(self, statement: Statement) -> Obstacle | None:
        for node, _ in walk_statements([statement.node]):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    if (obstacle := _of_import(node, alias, node.lineno)) is not None:
                        return obstacle
        return None

    def _of_package(self, statement: Statement) -> Obstacle | None:
        """``airflow_mlpipe.Dataset`` and the like, after ``import airflow_mlpipe``."""
        if self._packages.isdisjoint(statement.names.used):
            return None
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                dotted = f"{_PACKAGE}.{node.attr}"
                if node.value.id in self._packages and stays_in_pipeline(dotted):
                    return _needs_pipeline(dotted, node.lineno)
        return None

    def _of_calls(self, statement: Statement) -> Obstacle | None:
        """A step that is called, or whose methods are, while the module is imported."""
        steps = self._outline.steps
        if steps.isdisjoint(statement.names.run):
            return None
        for node in running_nodes(statement.node):
            if isinstance(node, (ast.Call, ast.Attribute)):
                user = node.func if isinstance(node, ast.Call) else node.value
                if isinstance(user, ast.Name) and user.id in steps:
                    return Obstacle(
                        f"comes from the step {user.id!r}, which Airflow calls", "pass it as a parameter"
                    )
        return None

    def _spread(self) -> None:
        """From what is an obstacle itself to all that uses it, nearest first."""
        users: defaultdict[str, list[Statement]] = defaultdict(list)
        pending: deque[str] = deque()
        for item in self._outline.statements:
            if is_import(item.node):
                pending.extend(self._of_imports(item))
                continue
            for name in item.names.used:
                users[name].append(item)
            if (obstacle := self.of(item)) is not None:
                pending.extend(self._block(item, obstacle))
        while pending:
            name = pending.popleft()
            imported = all(is_import(item.node) for item in self._outline.binders.get(name, ()))
            for item in users[name]:
                obstacle = self.names[name]
                # An import is told by what it imports, so its name need not be told besides.
                pending.extend(self._block(item, obstacle if imported else obstacle.behind(name)))

    def _of_imports(self, statement: Statement) -> Iterator[str]:
        for name, alias in import_names(statement):
            assert isinstance(statement.node, (ast.Import, ast.ImportFrom))
            if (obstacle := _of_import(statement.node, alias)) is not None and name not in self.names:
                self.names[name] = obstacle
                yield name

    def _block(self, statement: Statement, obstacle: Obstacle) -> Iterator[str]:
        """Note what blocks *statement*; gives the names that this makes unavailable."""
        if statement in self.statements:
            return
        self.statements[statement] = obstacle
        changed = (name for name, items in self._outline.changers.items() if statement in items)
        for name in (*statement.names.bound, *changed):
            if name not in self.names and name in self._outline.binders:
                self.names[name] = obstacle
                yield name


def _of_files(statement: Statement) -> Obstacle | None:
    if "__file__" not in statement.names.used:
        return None
    return Obstacle(
        "uses __file__, and files beside the DAG file are not shipped",
        "pass a Dataset, or set source_directory, whose files lie in the step's working directory",
    )


def _is_package(alias: ast.alias) -> bool:
    """Whether *alias* of ``import ...`` binds this package itself."""
    return alias.name == _PACKAGE or (alias.name.startswith(f"{_PACKAGE}.") and alias.asname is None)


def _of_import(
    statement: ast.Import | ast.ImportFrom, alias: ast.alias, line: int | None = None
) -> Obstacle | None:
    """*line* is told; an import that binds a name of the module is told by that name's line."""
    if isinstance(statement, ast.ImportFrom) and statement.level:
        dots, where = "." * statement.level, "" if line is None else f" (line {line})"
        return Obstacle(
            f"imports from {dots}{statement.module or ''}{where}, and the file is in no package",
            "write the name of a package instead of the dots",
        )
    dotted = alias.name if isinstance(statement, ast.Import) else origin(statement, alias)
    return _needs_pipeline(dotted, line) if stays_in_pipeline(dotted) else None


def _needs_pipeline(dotted: str, line: int | None) -> Obstacle:
    what = dotted if line is None else f"{dotted}, line {line}"
    return Obstacle(
        f"needs Airflow's or a pipeline's objects ({what}), and they stay where the DAG is",
        "pass it as a parameter",
    )
