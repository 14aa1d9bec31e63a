"""Projects written by hand: each lays out its code, or looks at its surroundings, in a way of its own."""

from __future__ import annotations

from tests.mutations.project import Data, Output, Param, Project, texts


def layouts() -> list[Project]:
    """One project of each kind."""
    return [
        _flat(),
        _package(),
        _namespace(),
        _branches(),
        _reexports(),
        _lazy(),
        _settings(),
        _listed(),
        _everyday(),
        _two_steps(),
        _bundle_root(),
        _dynamic(),
        _links(),
        _encoding(),
        _docstrings(),
        _namespaces_of_modules(),
        _line_numbers(),
        _text(),
        _executable(),
        _arguments(),
        _installed(),
        _subfolder(),
        _grammar(),
    ]


def _flat() -> Project:
    return Project(
        "flat helpers",
        texts({
            "src/train.py": """
                import sys

                import helper

                # What is trained.
                total = helper.scale(7) + helper.scale(2, by=3)
                open(sys.argv[1], "w").write(repr(total))
            """,
            "src/helper.py": '''
                """Numbers for everybody."""

                import rates


                def scale(value, by=5):
                    """Scaled by a rate."""
                    return value * by - rates.RATE
            ''',
            "src/rates.py": "RATE = 4  # a constant far from the script\n",
            "src/other.py": "import unheard_of\n\nRATE = 9\n",
            "src/broken.py": "def (\n",
            "notes/readme.txt": "Not code, and not in the step's folder.\n",
        }),
        idle=frozenset({"src/other.py", "src/broken.py"}),
    )  # fmt: skip


def _package() -> Project:
    return Project(
        "a package with relative imports",
        texts({
            "src/train.py": """
                import sys
                from model import fit
                from model.parts import widths as wide
                open(sys.argv[1], "w").write(str(fit.run(3) + wide.first()))
            """,
            "src/model/__init__.py": "SHIFT = 11\n",
            "src/model/fit.py": """
                from . import SHIFT, base
                from .parts.depths import depth

                def run(value):
                    return base.double(value) + depth() + SHIFT
            """,
            "src/model/base.py": "def double(value):\n    return 2 * value\n",
            "src/model/parts/__init__.py": "",
            "src/model/parts/depths.py": """
                from .. import base
                from ..base import double as twice

                def depth():
                    return base.double(5) - twice(1)
            """,
            "src/model/parts/widths.py": "def first():\n    return 6\n",
            "src/model/parts/unused.py": "from .. import base\n",
        }),
        idle=frozenset({"src/model/parts/unused.py"}),
    )  # fmt: skip


def _namespace() -> Project:
    return Project(
        "a namespace package",
        texts({
            "src/train.py": """
                import sys
                import kit.math.powers as powers
                from kit import names
                open(sys.argv[1], "w").write(names.TITLE + str(powers.square(3)))
            """,
            "src/kit/math/powers.py": "def square(value):\n    return value ** 2\n",
            "src/kit/names.py": "TITLE = 'square '\n",
            "src/kit/math/roots.py": "def root(value):\n    return value ** 0.5\n",
        }),
        idle=frozenset({"src/kit/math/roots.py"}),
    )  # fmt: skip


def _branches() -> Project:
    return Project(
        "conditional and tried imports",
        texts({
            "src/train.py": """
                import sys

                if sys.version_info >= (3, 5):
                    from modern import sign
                else:
                    from ancient import sign

                try:
                    from fast import mean
                except ImportError:
                    from slow import mean

                try:
                    import accelerated
                    factor = accelerated.FACTOR
                except ModuleNotFoundError:
                    factor = 1
                open(sys.argv[1], "w").write(sign(mean([1, 2, 6])) + str(factor))
            """,
            "src/modern.py": "def sign(value):\n    return '+' if value >= 0 else '-'\n",
            "src/ancient.py": "def sign(value):\n    return 'old'\n",
            "src/slow.py": "def mean(values):\n    return sum(values) / len(values)\n",
        }),
    )  # fmt: skip


def _reexports() -> Project:
    return Project(
        "re-exports of a package",
        texts({
            "src/train.py": """
                import sys
                from toolbox import *
                from toolbox import compute as run
                open(sys.argv[1], "w").write(str(run(4) + LEVEL + extra.AMOUNT))
            """,
            "src/toolbox/__init__.py": """
                from toolbox.api import compute
                from .levels import *
                __all__ = ["LEVEL", "extra"]
            """,
            "src/toolbox/api.py": "from .engine import compute\n",
            "src/toolbox/engine.py": "def compute(value):\n    return value * 3 + 1\n",
            "src/toolbox/levels.py": "LEVEL = 8\n_HIDDEN = 2\n",
            "src/toolbox/extra.py": "AMOUNT = 100\n",
        }),
    )  # fmt: skip


def _lazy() -> Project:
    return Project(
        "imports inside functions and classes",
        texts({
            "src/train.py": """
                import sys

                class Trainer:
                    def __init__(self, rate):
                        from late import schedule
                        self.rates = schedule(rate)

                    def run(self):
                        def inner():
                            import later
                            return later.WEIGHT
                        return [rate * inner() for rate in self.rates]

                open(sys.argv[1], "w").write(repr(Trainer(2).run()))
            """,
            "src/late.py": "def schedule(rate, steps=3):\n    return [rate + n for n in range(steps)]\n",
            "src/later.py": "WEIGHT = 10\n",
            "src/latest.py": "WEIGHT = 12\n",
        }),
        idle=frozenset({"src/latest.py"}),
    )  # fmt: skip


def _settings() -> Project:
    return Project(
        "data files beside the script",
        texts({
            "src/train.py": """
                import json, os, sys
                from pathlib import Path
                settings = json.loads((Path(__file__).parent / "settings.json").read_text())
                names = sorted(os.listdir("words"))
                words = [open("words/" + name).read().strip() for name in names]
                open(sys.argv[1], "w").write(repr(words * settings["times"]))
            """,
            "src/settings.json": '{"times": 2}\n',
            "src/words/a.txt": "alpha\n",
            "src/words/b.txt": "gamma\n",
        }),
        observes=frozenset({"modules", "text"}),  # it lists a folder of its own, and that may be any
    )  # fmt: skip


def _listed() -> Project:
    return Project(
        "a folder of Python files that is listed and packed",
        texts({
            "src/train.py": """
                import sys
                from pathlib import Path
                import gather
                # What is not imported is read.
                texts = [path.read_text() for path in sorted(Path("recipes").glob("*"))]
                open(sys.argv[1], "w").write(repr([texts, gather.packed("recipes")]))
            """,
            "src/gather.py": """
                import os, shutil, tempfile

                def packed(folder):
                    with tempfile.TemporaryDirectory() as place:
                        copy = shutil.copytree(folder, place + "/copy")
                        return sorted(os.listdir(copy))
            """,
            "src/recipes/bread.py": "FLOUR = 500\n",
            "src/recipes/soup.txt": "water\n",
            "src/other/cake.py": "SUGAR = 1\n",
        }),
        read="src/recipes",
        idle=frozenset({"src/other/cake.py"}),
    )  # fmt: skip


def _everyday() -> Project:
    return Project(
        "looks around that have nothing to do with the code",
        texts({
            "src/train.py": """
                import argparse, logging, os, sys
                from model import fit

                def names(folder):
                    \"\"\"What is in it.\"\"\"
                    return sorted(name for name in os.listdir(folder) if not name.startswith("."))

                parser = argparse.ArgumentParser()
                parser.add_argument("--data")
                parser.add_argument("--output")
                args = parser.parse_args()
                logging.basicConfig(stream=sys.stdout, format="%(levelname)s:%(message)s")
                logging.warning("training on %s", names(args.data))
                given = sorted(vars(args))
                settings = dict(model=3)
                size = fit.run(settings["model"]) + settings.get("model")
                open(args.output, "w").write(repr([names(args.data), given, size]))
            """,
            "src/model/__init__.py": "",
            "src/model/fit.py": """
                def run(value):
                    \"\"\"Twice as much.\"\"\"
                    return 2 * value
            """,
            "src/model/unused.py": "VALUE = 5\n",
            "data/parts/one.txt": "1",
        }),
        arguments=("--data", Data("data/parts"), "--output", Output()),
        idle=frozenset({"src/model/unused.py"}),
    )  # fmt: skip


def _two_steps() -> Project:
    return Project(
        "two steps in one folder",
        texts({
            "src/train.py": """
                import sys
                from common import clean
                from fitting import fit
                open(sys.argv[1], "w").write(fit(clean(" a b ")))
            """,
            "src/prepare.py": """
                import sys
                from common import clean
                from loading import load
                open(sys.argv[1], "w").write(clean(load()))
            """,
            "src/common.py": "def clean(text):\n    return text.strip().replace(' ', '_')\n",
            "src/fitting.py": "def fit(text, times=2):\n    return text * times\n",
            "src/loading.py": "def load():\n    return ' x y '\n",
        }),
        idle=frozenset({"src/prepare.py", "src/loading.py"}),
    )  # fmt: skip


def _bundle_root() -> Project:
    return Project(
        "a helper at the root of the bundle",
        texts({
            "src/train.py": """
                import sys
                from shared.tools import weigh
                open(sys.argv[1], "w").write(str(weigh(6)))
            """,
            "shared/__init__.py": "",
            "shared/tools.py": """
                from shared import units
                from .tables import TABLE

                def weigh(value, unit=2):
                    return value * unit + units.GRAM + TABLE["a"]
            """,
            "shared/units.py": "GRAM = 3\n",
            "shared/tables.py": "TABLE = {'a': 40, 'b': 50}\n",
            "shared/unrelated.py": "OUNCE = 5\n",
        }),
        idle=frozenset({"shared/unrelated.py"}),
    )  # fmt: skip


def _dynamic() -> Project:
    return Project(
        "modules found by a computed name",
        texts({
            "src/train.py": """
                import importlib, sys
                plugin = importlib.import_module("plugins." + sys.argv[1])
                open(sys.argv[2], "w").write(plugin.describe(2))
            """,
            "src/plugins/__init__.py": "",
            "src/plugins/linear.py": "def describe(value):\n    return 'linear' + str(value + 1)\n",
            "src/plugins/square.py": "def describe(value):\n    return 'square' + str(value * value)\n",
        }),
        arguments=("linear", Output()),
        observes=frozenset({"modules", "docstrings"}),
    )  # fmt: skip


def _links() -> Project:
    return Project(
        "links to a module and to a folder",
        texts({
            "src/train.py": """
                import sys
                import linked
                from folder import inside
                open(sys.argv[1], "w").write(str(linked.VALUE - inside.VALUE))
            """,
            "src/lib/real.py": "VALUE = 21\n",
            "src/lib/spare.py": "VALUE = 22\n",
            "src/lib/deep/inside.py": "VALUE = 5\n",
            "src/lib/shallow/inside.py": "VALUE = 6\n",
        }),
        links={"src/linked.py": "lib/real.py", "src/folder": "lib/deep"},
        idle=frozenset({"src/lib/spare.py", "src/lib/shallow/inside.py"}),
    )  # fmt: skip


def _encoding() -> Project:
    files = texts({
        "src/train.py": """
            import sys
            from letters import WORD
            open(sys.argv[1], "w", encoding="utf-8").write(WORD + "ü")
        """,
    })  # fmt: skip
    letters = "# -*- coding: latin-1 -*-\nWORD = 'caf\xe9 \xa4'\nMARK = '\xb5'\n".encode("latin-1")
    return Project("source that is not UTF-8", {**files, "src/letters.py": letters})


def _docstrings() -> Project:
    return Project(
        "docstrings that are read",
        texts({
            "src/train.py": '''
                """What the report begins with."""

                import sys
                from rules import even, odd
                open(sys.argv[1], "w").write(__doc__ + even.__doc__ + str(even(4)) + str(odd.__doc__))
            ''',
            "src/rules.py": '''
                def even(value):
                    """Whether it is even."""
                    return value % 2 == 0

                def odd(value):
                    return value % 2 == 1
            ''',
        }),
        observes=frozenset({"docstrings"}),
    )  # fmt: skip


def _namespaces_of_modules() -> Project:
    return Project(
        "docstrings among the values of a module, a class and a function",
        texts({
            "src/train.py": """
                import inspect, sys
                import rules

                def texts(values):
                    return [value for value in values if isinstance(value, str) and value.endswith("!")]

                found = texts(vars(rules).values()), texts(rules.Rule.__dict__.values())
                members = texts(value for _, value in inspect.getmembers(rules.even))
                open(sys.argv[1], "w").write(repr([found, members]))
            """,
            "src/rules.py": '''
                """Rules of the house!"""

                class Rule:
                    """One rule!"""

                def even(value):
                    """Whether it is even!"""
                    return value % 2 == 0
            ''',
        }),
        observes=frozenset({"docstrings"}),
    )  # fmt: skip


def _line_numbers() -> Project:
    return Project(
        "line numbers in a log that is a part of the result",
        texts({
            "src/train.py": """
                import io, logging, sys
                import noisy
                # The log is kept.
                stream = io.StringIO()
                logging.basicConfig(stream=stream, format="%(module)s:%(lineno)d %(message)s")
                noisy.shout(2)
                open(sys.argv[1], "w").write(stream.getvalue())
            """,
            "src/noisy.py": """
                import logging

                def shout(times):
                    logging.warning("hey" * times)
            """,
        }),
        observes=frozenset({"text", "docstrings"}),
    )  # fmt: skip


def _text() -> Project:
    return Project(
        "source text that is read",
        texts({
            "src/train.py": """
                import inspect, sys
                import recipe

                def where():
                    return inspect.currentframe().f_lineno

                # Lines are counted here.
                report = inspect.getsource(recipe.bake) + str(where())
                open(sys.argv[1], "w").write(report)
            """,
            "src/recipe.py": "def bake():\n    # for an hour\n    return 'bread'\n",
        }),
        observes=frozenset({"text", "docstrings"}),
    )  # fmt: skip


def _executable() -> Project:
    return Project(
        "a program among the data",
        texts({
            "src/train.py": """
                import os, sys
                report = open("tool.sh").read() + str(os.access("tool.sh", os.X_OK))
                open(sys.argv[1], "w").write(report)
            """,
            "src/tool.sh": "echo tool\n",
        }),
        executable=frozenset({"src/tool.sh"}),
    )  # fmt: skip


def _arguments() -> Project:
    return Project(
        "arguments, inputs, parameters and variables",
        texts({
            "src/train.py": """
                import argparse, os
                from pathlib import Path

                parser = argparse.ArgumentParser()
                parser.add_argument("--data", type=Path)
                parser.add_argument("--folder", type=Path)
                parser.add_argument("--rate")
                parser.add_argument("--depth")
                parser.add_argument("--output")
                parser.add_argument("names", nargs="*")
                options = parser.parse_args()
                rows = options.data.read_text().split()
                parts = [(path.name, path.read_text()) for path in sorted(options.folder.iterdir())]
                report = [rows, parts, options.rate, options.depth, options.names, os.environ.get("SIZE")]
                options_seen = os.environ.get("COLOUR", "none")
                Path(options.output).write_text(repr((report, options_seen)))
            """,
            "data/rows.csv": "a b c\n",
            "data/parts/one.txt": "1",
            "data/parts/two.txt": "2",
            "data/unread.txt": "not an input",
        }),
        arguments=(
            "--data", Data("data/rows.csv"), "--folder", Data("data/parts"), "--rate", Param("rate"),
            "--depth", 1, "--output", Output(), "first", "1", 2.5, True,
        ),
        params={"rate": 0.1, "other": 1},
        variables={"SIZE": "10", "COLOUR": "red"},
    )  # fmt: skip


def _installed() -> Project:
    return Project(
        "installed packages",
        texts({
            "src/train.py": """
                import sys
                import tinymath
                from loose import LOOSE

                try:
                    from tinyfast import speed
                except ImportError:
                    speed = "none"
                open(sys.argv[1], "w").write(str(tinymath.add(2, 3)) + speed + str(LOOSE))
            """,
        }),
        site={
            **distribution(
                "tinymath",
                "1.0",
                "import tinycore\ndef add(a, b):\n    return a + b + tinycore.BIAS\n",
                "tinycore>=1",
            ),
            **distribution("tinycore", "1.5", "BIAS = 0\n"),
            **distribution("bystander", "1.0", "VALUE = 0\n"),
            **texts({"loose.py": "LOOSE = 7\n"}),
        },
        imports_strangers=True,
    )  # fmt: skip


def distribution(name: str, version: str, source: str, *requires: str) -> dict[str, bytes]:
    """The files of an installed distribution of one module, as an installer lays them out."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {item}\n" for item in requires)
    record = f"{name}.py,,\n{info}/METADATA,,\n{info}/RECORD,,\n"
    return {
        f"{name}.py": source.encode(),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/RECORD": record.encode(),
    }


def _subfolder() -> Project:
    return Project(
        "a script in a folder of its own",
        texts({
            "src/steps/train.py": """
                import sys
                import near
                import random
                open(sys.argv[1], "w").write(str(near.VALUE + random.Random(near.VALUE).randint(1, 999)))
            """,
            "src/steps/near.py": "VALUE = 31\n",
            "src/elsewhere.py": "VALUE = 41\n",
            "src/steps/apart/near.py": "VALUE = 51\n",
        }),
        script="steps/train.py",
        idle=frozenset({"src/elsewhere.py", "src/steps/apart/near.py"}),
    )  # fmt: skip


def _grammar() -> Project:
    return Project(
        "much of Python's grammar",
        texts({
            "src/train.py": """
                import sys
                from dataclasses import dataclass, fields
                from functools import reduce
                from grammar import *

                @dataclass
                class Row:
                    name: str
                    size: float = 1.5
                    count: "int" = 2

                async def nothing():
                    return 5

                def run(first, /, second=2, *rest, third=3, fourth: int = 4, **more) -> int:
                    global counter
                    counter = len(rest) - len(more)
                    table = {"a": first, **more, "b": second}
                    chosen = [key for key in table if key != "a" or first > 1]
                    kept = {value for value in rest if value is not None and not value < 2}
                    head, *tail = sorted(kept | {third, fourth})
                    low = tail[1:4:2] or tail[::-1] or [0]
                    if (size := len(chosen)) > 1:
                        head += size << 2
                    elif size == 0:
                        head //= 2
                    try:
                        head = head % low[5]
                    except (IndexError, KeyError) as error:
                        head -= len(type(error).__name__)
                    else:
                        head = 0
                    finally:
                        counter += 1
                    for number in range(3):
                        if number == 1:
                            continue
                        head ^= number
                    with note("in") as entered, note("out"):
                        del table["b"]
                        assert entered
                    return lambda x, y=head: x * y - -first + sum(tail) + counter

                totals = [run(2, 3, 4, 5, third=6, five=7)(8), run(1)(2, y=3), reduce(max, [4, 9, 2])]
                seen = [f"{row.size:.2f}{row.name!r:>6}" for row in [Row("a"), Row("b", count=3)]]
                names = [(field.name, str(field.type)) for field in fields(Row)]
                maker = nothing()
                try:
                    maker.send(None)
                except StopIteration as ended:
                    totals.append(ended.value)
                open(sys.argv[1], "w").write(repr([totals, seen, names, list(stream(3)), NOTES, 1 < 2 < 3,
                    b"bytes", 2j, 1_000, ..., None, "joined " "text", [*totals[:1]], Shape().area]))
            """,
            "src/grammar.py": """
                from contextlib import contextmanager

                NOTES = []

                @contextmanager
                def note(text):
                    NOTES.append(text)
                    yield text
                    NOTES.append(-len(text))

                def stream(count):
                    got = yield "first"
                    yield from (n * 2 if n % 2 else n + 10 for n in range(count))
                    yield got

                class Shape:
                    width, height = 3, 4
                    @property
                    def area(self):
                        return self.width * self.height
            """,
        }),
    )  # fmt: skip
