"""The documentation speaks of things that exist, under the names they have."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
from airflow.cli.cli_config import ActionCommand, GroupCommand
from airflow.cli.cli_parser import get_parser

import airflow_mlpipe
from airflow_mlpipe.cli.definition import get_commands
from airflow_mlpipe.get_provider_info import OPTIONS
from airflow_mlpipe.model.compute_targets import parse_targets
from airflow_mlpipe.model.datastore import parse_datastores
from airflow_mlpipe.model.environment import parse_environments
from airflow_mlpipe.reuse.decision import REUSE_MODES, ReasonKind
from airflow_mlpipe.reuse.recipe import PARTS
from airflow_mlpipe.runtime import Run
from airflow_mlpipe.store.manifest import Manifest

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- quoted from (?P<origin>\S+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


class Block(NamedTuple):
    """A fenced block of a page; ``origin`` is the file it says it is quoted from, or ""."""

    language: str
    text: str
    origin: str


def blocks(page: Path) -> list[Block]:
    return [
        Block(found["language"], found["text"], found["origin"] or "")
        for found in FENCE.finditer(page.read_text("utf8"))
    ]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf8"))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leaves(command: ActionCommand | GroupCommand) -> Iterable[ActionCommand]:
    """The command itself, or the commands below a word such as ``dataset``."""
    return command.subcommands if isinstance(command, GroupCommand) else [command]


def rows(page: Path) -> dict[str, list[str]]:
    """The cells of every table row whose first cell is one name in backquotes, by that name."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.read_text("utf8").splitlines()
    ]
    return {row[0].strip("`"): row[1:] for row in cells if re.fullmatch(r"`\w+`", row[0]) and len(row) > 1}


@each_page
def test_every_relative_link_leads_to_a_page_and_a_heading_of_it(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.is_file(), f"{target} is no file"
        assert not anchor or anchor in anchors(goal), f"{target} is no heading"


def test_every_page_is_in_the_index() -> None:
    linked = {
        (DOCS / target.partition("#")[0]).resolve() for target in LINK.findall(prose(DOCS / "index.md"))
    }
    assert set(DOCS.rglob("*.md")) - {DOCS / "index.md"} <= linked


@each_page
def test_quoted_code_stands_in_its_file_word_for_word(page: Path) -> None:
    for block in blocks(page):
        if block.origin:
            assert block.text in (ROOT / block.origin).read_text("utf8"), (
                f"not in {block.origin}:\n{block.text}"
            )


@each_page
def test_every_example_file_that_is_named_exists(page: Path) -> None:
    for name in re.findall(r"dags_examples/[\w/.-]*\w", page.read_text("utf8")):
        assert (ROOT / name).exists(), name


@each_page
def test_python_blocks_parse_and_import_public_names_only(page: Path) -> None:
    for block in blocks(page):
        if block.language != "python" or block.origin:
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and node.module == "airflow_mlpipe":
                assert {alias.name for alias in node.names} <= set(airflow_mlpipe.__all__)


@each_page
def test_yaml_blocks_are_accepted(page: Path) -> None:
    readers = {
        "# compute_targets.yaml": parse_targets,
        "# datastores.yaml": parse_datastores,
        "# environments.yaml": parse_environments,
    }
    for block in blocks(page):
        if block.language == "yaml":
            title = block.text.splitlines()[0]
            assert readers[title](block.text, title)


@each_page
def test_make_targets_that_are_named_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf8")
    for target in re.findall(r"(?:^|`)make (\w[\w-]*)", page.read_text("utf8"), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_public_name_is_explained_in_the_reference() -> None:
    reference = "".join(page.read_text("utf8") for page in (DOCS / "reference").glob("*.md"))
    for name in set(airflow_mlpipe.__all__) - {"__version__"}:
        assert name in reference, name


def test_the_configuration_reference_has_every_option_with_type_default_and_description() -> None:
    table = rows(DOCS / "reference" / "configuration.md")
    assert set(table) == set(OPTIONS)
    for name, option in OPTIONS.items():
        kind, default, meaning = table[name]
        assert kind == option["type"]
        assert default == (f"`{option['default']}`" if option["default"] else "(empty)")
        assert meaning.startswith(option["description"])


def test_the_step_reference_has_every_parameter_with_its_default() -> None:
    table = rows(DOCS / "reference" / "steps.md")
    # Read, not imported: importing an operator loads Airflow.
    source = (ROOT / "airflow_mlpipe" / "sensors" / "output_reuse.py").read_text("utf8")
    init = next(
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    for parameter, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if parameter.arg in ("entry", "task_id", "deferrable"):
            assert f"`{parameter.arg}`" in (DOCS / "reference" / "steps.md").read_text("utf8")
        else:
            assert default is not None
            assert ast.literal_eval(table[parameter.arg][0].strip("`")) == ast.literal_eval(default)


def test_the_run_context_reference_has_every_method_of_a_run() -> None:
    page = (DOCS / "reference" / "run-context.md").read_text("utf8")
    for name, _ in inspect.getmembers(Run):
        assert name.startswith("_") or re.search(rf"`[^`]*\b{name}\b", page), name


def test_every_kind_of_reason_is_listed_and_explained() -> None:
    kinds = set(get_args(ReasonKind))
    assert set(rows(DOCS / "reference" / "decision-record.md")) >= kinds
    assert anchors(DOCS / "explanation" / "why-a-step-ran.md") >= kinds


def test_every_part_of_a_recipe_and_field_of_a_manifest_is_explained() -> None:
    assert set(rows(DOCS / "explanation" / "how-reuse-works.md")) >= set(PARTS)
    layout = (DOCS / "reference" / "store-layout.md").read_text("utf8")
    for field in Manifest.model_fields:
        assert f"`{field}`" in layout, field


def test_every_mode_of_the_run_level_switch_is_explained() -> None:
    assert set(rows(DOCS / "how-to" / "control-reuse.md")) >= set(REUSE_MODES)


def test_the_command_line_page_has_every_command_with_every_option_and_no_other() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text("utf8")
    (group,) = get_commands()
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    assert set(sections) == {command.name for command in group.subcommands}
    for command in group.subcommands:
        arguments = [argument for leaf in leaves(command) for argument in leaf.args]
        flags = {flag for argument in arguments for flag in argument.flags if flag.startswith("-")}
        told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", sections[command.name]))
        assert told <= flags, command.name
        unsaid = {argument.flags[-1] for argument in arguments if not told & set(argument.flags)}
        assert {flag for flag in unsaid if flag.startswith("-")} == set(), command.name


def test_every_example_of_a_command_is_understood() -> None:
    (group,) = get_commands()
    for word, leaf in ((command.name, leaf) for command in group.subcommands for leaf in leaves(command)):
        examples = [line.strip() for line in leaf.epilog.splitlines() if line.startswith("  airflow ")]
        assert examples, leaf.name
        for example in examples:
            words = shlex.split(example)
            assert words[:3] == ["airflow", "mlpipe", word]
            assert leaf.name in words[2:4]
            get_parser().parse_args(words[1:])
