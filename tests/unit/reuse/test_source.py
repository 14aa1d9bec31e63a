from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.source import Code, Surroundings, code_of
from airflow_mlpipe.reuse.source_files import SourceFiles

TRAIN = '''"""Trains."""
import helper
from package import model


def train(rate):
    """One epoch."""
    return helper.scale(rate)
'''
FILES = {
    "train.py": TRAIN,
    "prepare.py": "import shared_only_by_prepare\n",
    "shared_only_by_prepare.py": "",
    "helper.py": "import pandas\n\n\ndef scale(x):\n    return 2 * x\n",
    "package/__init__.py": "",
    "package/model.py": "from . import layers\n",
    "package/layers.py": "WIDTH = 8\n",
    "package/unused.py": "",
    "config.yaml": "a: 1\n",
}


class Source:
    """A source directory to edit."""

    def __init__(self, directory: Path, files: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.reads: list[str] = []
        self.write_all(FILES if files is None else files)

    def write_all(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            self.write(name, text)

    def write(self, name: str, text: str | bytes) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def append(self, name: str, text: str) -> None:
        self.write(name, (self.directory / name).read_text() + text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.directory / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def code(self, entry: str | None = "train.py", **options: Any) -> Code:
        of_files = {name: options.pop(name) for name in ("read", "bundle", "remember") if name in options}
        return code_of(self.files(**of_files), entry, **{"scope": "imports", **options})

    def files(self, **options: Any) -> SourceFiles:
        return SourceFiles(self.directory, **{"read": self._read, "file_digest": file_digest, **options})

    def _read(self, path: Path) -> bytes:
        self.reads.append(path.name)
        return path.read_bytes()


class Notebook:
    """A memory in memory."""

    def __init__(self) -> None:
        self.facts: dict[tuple[str, str], str] = {}

    def lookup(self, kind: str, key: str) -> str | None:
        return self.facts.get((kind, key))

    def remember(self, kind: str, key: str, value: str) -> None:
        self.facts[kind, key] = value


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


Edit = Callable[[Source], None]

WITHOUT_EFFECT: dict[str, Edit] = {
    "a comment": lambda s: s.append("train.py", "# why\n"),
    "a comment in a helper": lambda s: s.append("package/layers.py", "# why\n"),
    "a blank line": lambda s: s.replace("train.py", "import helper\n", "import helper\n\n"),
    "a docstring": lambda s: s.replace("train.py", "One epoch", "Just one epoch"),
    "a docstring in a helper": lambda s: s.replace("helper.py", "(x):\n", '(x):\n    """Doubles."""\n'),
    "the module of another step": lambda s: s.append("prepare.py", "x = 1\n"),
    "a helper of another step": lambda s: s.append("shared_only_by_prepare.py", "x = 1\n"),
    "a module of the package that nothing imports": lambda s: s.append("package/unused.py", "x = 1\n"),
    "a new module that nothing imports": lambda s: s.write("new.py", "x = 1\n"),
    "a file that does not parse and is not reached": lambda s: s.write("prepare.py", "def (\n"),
    "something dynamic that is not reached": lambda s: s.append("prepare.py", "import importlib\n"),
    "a cache": lambda s: s.write("__pycache__/train.cpython-311.pyc", b"x"),
    "an ignore file and what it names": lambda s: s.write_all({".gitignore": "*.log\n", "a.log": "x"}),
    "an executable script": lambda s: (s.directory / "train.py").chmod(0o755),
    "a modification time": lambda s: s.write("train.py", TRAIN),
}
WITH_EFFECT: dict[str, Edit] = {
    "the script": lambda s: s.replace("train.py", "scale(rate)", "scale(-rate)"),
    "a helper": lambda s: s.replace("helper.py", "2 * x", "3 * x"),
    "a helper of a helper": lambda s: s.replace("package/layers.py", "8", "9"),
    "an __init__": lambda s: s.append("package/__init__.py", "x = 1\n"),
    "another function in the script": lambda s: s.append("train.py", "def more(): ...\n"),
    "a file of data": lambda s: s.append("config.yaml", "b: 2\n"),
    "a new file of data": lambda s: s.write("data/x.json", "{}"),
    "an executable file of data": lambda s: (s.directory / "config.yaml").chmod(0o755),
    "a module that hides an installed one": lambda s: s.write("pandas.py", ""),
    "a module that hides one of the standard library": lambda s: s.write("random.py", ""),
    "a stub": lambda s: s.write("helper.pyi", ""),
    "the source of a compiled module": lambda s: s.write("fast.pyx", ""),
    "a program in another language": lambda s: s.write("fit.R", ""),
    "a module that becomes a package": lambda s: s.write("helper/__init__.py", ""),
}


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_an_edit_without_effect_does_not_count(source: Source, name: str) -> None:
    before = source.code().as_document()
    WITHOUT_EFFECT[name](source)
    assert source.code().as_document() == before


@pytest.mark.parametrize("name", WITH_EFFECT)
def test_an_edit_with_effect_counts(source: Source, name: str) -> None:
    before = source.code().as_document()
    WITH_EFFECT[name](source)
    assert source.code().as_document() != before


def test_the_document_names_each_counted_file_and_how_it_counts(source: Source) -> None:
    code = source.code()
    kinds = {path: digest.partition(":")[0] for path, digest in code.files.items()}
    assert list(kinds) == sorted(kinds)
    assert kinds == {
        "config.yaml": "sha256",
        "helper.py": "python",
        "package/__init__.py": "python",
        "package/layers.py": "python",
        "package/model.py": "python",
        "train.py": "python",
    }
    assert code.as_document() == {"scope": "imports", "files": code.files}
    assert (code.external, code.why_directory, code.why_open) == (("pandas",), None, None)


def test_two_places_with_the_same_code_have_the_same_document(tmp_path: Path) -> None:
    first, second = Source(tmp_path / "a"), Source(tmp_path / "b")
    assert first.code() == second.code()


def test_in_the_scope_directory_every_file_counts_by_its_bytes(source: Source) -> None:
    code = source.code(scope="directory")
    assert set(code.files) == set(FILES)
    assert {digest.partition(":")[0] for digest in code.files.values()} == {"sha256"}
    assert (code.scope, code.why_directory, code.external) == ("directory", None, ("pandas",))
    source.append("package/unused.py", "# why\n")
    assert source.code(scope="directory").files != code.files


def test_for_a_command_line_every_file_counts_by_its_bytes_and_all_imports_are_told(source: Source) -> None:
    source.append("package/unused.py", "import scipy\n")
    code = source.code(None)
    assert set(code.files) == set(FILES)
    assert {digest.partition(":")[0] for digest in code.files.values()} == {"sha256"}
    assert code.external == ("pandas", "scipy")
    assert code.scope == "directory"
    assert "command line" in (code.why_directory or "")
    assert code.why_open is not None


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda s: s.append("helper.py", "import importlib\n"), "helper.py: line 6 imports importlib"),
        (lambda s: s.write("package/layers.py", "def (\n"), "package/layers.py cannot be parsed"),
        (
            lambda s: (s.append("train.py", "import fast\n"), s.write("fast.so", b""))[0],
            "fast.so is a compiled",
        ),
    ],
)
def test_when_imports_cannot_be_told_every_python_file_counts(source: Source, edit: Edit, why: str) -> None:
    edit(source)
    code = source.code()
    assert set(FILES) <= set(code.files)
    assert code.scope == "directory"
    assert why in (code.why_directory or "")
    assert code.why_open == code.why_directory
    assert code.files["prepare.py"].startswith("python:")
    source.append("prepare.py", "# why\n")
    assert source.code() == code
    source.append("prepare.py", "x = 1\n")
    assert source.code() != code


@pytest.mark.parametrize(
    "reader",
    ["import helper; print(helper.scale.__doc__)\n", "import dspy\n", "import inspect; inspect.getdoc(x)\n"],
)
def test_docstrings_of_all_files_count_when_any_may_read_them(source: Source, reader: str) -> None:
    source.append("train.py", reader)
    before = source.code()
    assert before.why_docstrings is not None
    source.replace("helper.py", "(x):\n", '(x):\n    """Doubles."""\n')
    after = source.code()
    assert after.files["helper.py"] != before.files["helper.py"]
    source.append("helper.py", "# why\n")
    assert source.code() == after


def test_the_text_of_all_files_counts_when_any_reads_source(source: Source) -> None:
    source.append("train.py", "import inspect\ninspect.getsource(helper)\n")
    before = source.code()
    assert before.why_text == "train.py: line 10 uses inspect.getsource"
    source.append("helper.py", "# why\n")
    assert source.code().files["helper.py"] != before.files["helper.py"]


class TestAFolderOfPythonThatIsListed:
    LISTING = "import os\nprint([open('package/' + name).read() for name in os.listdir('package')])\n"

    @pytest.mark.parametrize(
        "listing",
        [
            LISTING,
            "from pathlib import Path\nprint(list(Path('package').glob('*')))\n",
            "import shutil\nshutil.copytree('./package', out)\n",
            "import tarfile\ntarfile.open('/tmp/code.tar', 'w').add('package')\n",
            "import filecmp\nfilecmp.dircmp('package', other)\n",
            "import os, settings\nos.listdir(settings.FOLDER)\n",
        ],
    )
    @pytest.mark.parametrize(
        "edit",
        [
            lambda s: s.write("package/new.py", ""),
            lambda s: s.append("package/unused.py", "# why\n"),
            lambda s: s.append("package/layers.py", "# why\n"),
        ],
    )
    def test_counts_by_its_bytes(self, source: Source, listing: str, edit: Edit) -> None:
        source.write("settings.py", "FOLDER = 'package'\n")
        source.append("train.py", listing)
        before = source.code()
        assert before.why_listed is not None
        assert before.scope == "imports"
        edit(source)
        assert source.code().as_document() != before.as_document()

    @pytest.mark.parametrize("argument", ["package", "./package/", "package/*.py"])
    def test_counts_by_its_bytes_when_an_argument_names_it(self, source: Source, argument: str) -> None:
        source.append("train.py", "import os, sys\nos.listdir(sys.argv[2])\n")
        arguments = ["--folder", argument]
        before = source.code(arguments=arguments)
        source.append("package/unused.py", "# why\n")
        assert source.code(arguments=arguments).as_document() != before.as_document()
        assert source.code(arguments=["--folder", "/package"]) == source.code()

    @pytest.mark.parametrize("name", ["prepare.py", "helper.py", "other/new.py"])
    def test_leaves_other_files_as_they_are(self, source: Source, name: str) -> None:
        source.append("train.py", self.LISTING)
        source.write("other/new.py", "")
        before = source.code()
        source.append(name, "# why\n")
        assert source.code() == before

    @pytest.mark.parametrize(
        "everyday",
        [
            "import os\nos.listdir(args.data)\n",
            "print('package')\n",
            "import os\nprint(os.listdir(args.data), config['package'])\n",
            "import glob\nglob.glob('package/*.csv')\n",
        ],
    )
    def test_is_not_one_that_is_named_without_being_listed(self, source: Source, everyday: str) -> None:
        source.append("train.py", everyday)
        before = source.code()
        source.append("package/layers.py", "# why\n")
        source.write("package/new.py", "")
        assert source.code() == before

    def test_counts_by_its_bytes_when_imports_cannot_be_told(self, source: Source) -> None:
        source.append("train.py", "import importlib\n" + self.LISTING)
        files = source.code().files
        assert (files["package/unused.py"][:7], files["prepare.py"][:7]) == ("sha256:", "python:")


def test_bytecode_without_its_source_is_no_part_of_the_code_so_that_nothing_runs_it(source: Source) -> None:
    before = source.code().as_document()
    source.write("helper_of_helper.pyc", b"bytecode")
    source.append("helper.py", "import helper_of_helper\n")
    after = source.code()
    assert after.files.keys() == before["files"].keys()
    assert "helper_of_helper" in after.external


def test_a_script_in_a_folder_imports_from_there(source: Source) -> None:
    source.write("steps/train.py", "import near\n")
    source.write("steps/near.py", "")
    assert {"steps/train.py", "steps/near.py", "config.yaml"} == set(source.code("steps/train.py").files)


def test_a_script_is_python_whatever_its_name(source: Source) -> None:
    source.write("run", "import helper\n")
    files = source.code("./run").files
    assert files["run"].startswith("python:")
    assert "helper.py" in files


def test_a_link_counts_by_what_it_points_to(source: Source) -> None:
    source.write("lib/real.py", "x = 1\n")
    (source.directory / "linked.py").symlink_to("lib/real.py")
    source.append("train.py", "import linked\n")
    before = source.code()
    source.write("lib/real.py", "x = 2\n")
    assert source.code().files["linked.py"] != before.files["linked.py"]


def test_a_linked_folder_counts_by_what_is_in_it(source: Source) -> None:
    source.write("lib/inner/a.py", "x = 1\n")
    (source.directory / "linked").symlink_to("lib/inner")
    source.append("train.py", "import linked.a\n")
    before = source.code()
    source.write("lib/inner/a.py", "x = 2\n")
    assert source.code().files["linked/a.py"] != before.files["linked/a.py"]


@pytest.mark.parametrize("name", ["prepare.py", "package", "../outside/a.txt", "secret.log"])
def test_hash_paths_count_by_their_bytes_besides(tmp_path: Path, name: str) -> None:
    source = Source(tmp_path / "source")
    source.write("../outside/a.txt", "")
    source.write(".gitignore", "*.log\n")
    source.write("secret.log", "")
    edited = "package/unused.py" if name == "package" else name
    before = source.code(hash_paths=[name])
    assert before.files[edited].startswith("sha256:")
    source.append(edited, "# why\n")
    assert source.code(hash_paths=[name]) != before


@pytest.mark.parametrize("name", ["nowhere", "/etc/hostname"])
def test_hash_paths_that_are_not_there_are_refused(source: Source, name: str) -> None:
    with pytest.raises(DefinitionError, match=name):
        source.code(hash_paths=[name])


@pytest.mark.parametrize("name", ["nowhere.py", "../train.py", "package", "/train.py"])
def test_a_script_that_is_not_there_is_refused(source: Source, name: str) -> None:
    with pytest.raises(DefinitionError, match=f"entry script '{name}'"):
        source.code(name)


def test_an_ignored_script_is_refused_with_the_reason(source: Source) -> None:
    source.write(".mlpipeignore", "train.py\n")
    with pytest.raises(DefinitionError, match="an ignore file names it"):
        source.code()


class TestWhatComesAlongFromTheBundle:
    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Source:
        """A bundle whose folder "src" is the source directory of a step."""
        bundle = Source(tmp_path / "bundle", {})
        bundle.write_all(
            {
                "src/train.py": "from common.words import clean\n",
                "src/prepare.py": "import other\n",
                "common/__init__.py": "",
                "common/words.py": "from . import stems\n\n\ndef clean(text):\n    return text.lower()\n",
                "common/stems.py": "import numpy\n",
                "common/unused.py": "",
                "common/words.json": "{}",
                "common/sql/select.sql": "",
                "common/deep/a.py": "",
                "common/deep/a.json": "",
                "other.py": "",
                "notes.txt": "",
            }
        )
        return bundle

    def code(self, bundle: Source, **options: Any) -> Code:
        inside = Source(bundle.directory / "src", {})
        return inside.code(**{"bundle": bundle.directory, **options})

    def test_is_what_is_reached_with_the_data_of_its_packages(self, bundle: Source) -> None:
        code = self.code(bundle)
        assert {name: digest.partition(":")[0] for name, digest in code.files.items()} == {
            "train.py": "python",
            "@bundle/common/__init__.py": "python",
            "@bundle/common/words.py": "python",
            "@bundle/common/stems.py": "python",
            "@bundle/common/words.json": "sha256",
            "@bundle/common/sql/select.sql": "sha256",
        }
        assert code.along == tuple(name for name in code.files if name.startswith("@bundle/"))
        assert (code.external, code.why_directory) == (("numpy",), None)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda b: b.append("common/words.py", "# why\n"),
            lambda b: b.replace("common/words.py", "(text):\n", '(text):\n    """Lower case."""\n'),
            lambda b: b.append("common/unused.py", "import importlib\n"),
            lambda b: b.append("common/deep/a.json", "{}"),
            lambda b: b.append("other.py", "x = 1\n"),
            lambda b: b.write("src.py", ""),
            lambda b: b.write("numpy/data.csv", ""),
            lambda b: b.write("sitecustomize.py", "x = 1\n"),
            lambda b: b.append("notes.txt", "x"),
        ],
    )
    def test_does_not_change_with_what_is_not_reached(self, bundle: Source, edit: Edit) -> None:
        before = self.code(bundle)
        edit(bundle)
        assert self.code(bundle) == before

    @pytest.mark.parametrize(
        "edit",
        [
            lambda b: b.replace("common/words.py", "lower", "upper"),
            lambda b: b.append("common/stems.py", "x = 1\n"),
            lambda b: b.append("common/__init__.py", "x = 1\n"),
            lambda b: b.replace("common/words.json", "{}", "[]"),
            lambda b: b.append("common/sql/select.sql", "x"),
            lambda b: b.write("numpy.py", ""),
            lambda b: b.write("src/common.py", ""),
        ],
    )
    def test_changes_with_what_is_reached(self, bundle: Source, edit: Edit) -> None:
        before = self.code(bundle)
        edit(bundle)
        assert self.code(bundle).as_document() != before.as_document()

    def test_is_the_whole_package_when_imports_cannot_be_told(self, bundle: Source) -> None:
        bundle.append("common/stems.py", "import importlib\n")
        code = self.code(bundle)
        assert code.why_open == "@bundle/common/stems.py: line 2 imports importlib"
        assert {"prepare.py", "@bundle/common/unused.py", "@bundle/common/deep/a.py"} <= set(code.files)
        # The script of another step imports it, and may be run by this one.
        assert code.files["@bundle/other.py"].startswith("python:")

    def test_counts_by_its_bytes_in_the_scope_directory(self, bundle: Source) -> None:
        for options in ({"scope": "directory"}, {"entry": None}):
            code = self.code(bundle, **options)
            assert code.files["@bundle/common/words.py"].startswith("sha256:")
            assert set(code.along) >= {"@bundle/common/words.py", "@bundle/common/words.json"}

    def test_is_open_when_it_is_compiled(self, bundle: Source) -> None:
        bundle.write("common/fast.so", b"x")
        bundle.append("common/words.py", "from . import fast\n")
        assert "@bundle/common/fast.so is a compiled module" in (self.code(bundle).why_open or "")
        assert self.code(bundle).files["@bundle/common/fast.so"].startswith("sha256:")

    def test_is_nothing_when_no_bundle_is_given(self, bundle: Source) -> None:
        code = Source(bundle.directory / "src", {}).code()
        assert (code.along, code.external) == ((), ("common",))


class TestWhoReadsDocstrings:
    @pytest.fixture
    def document(self, source: Source) -> Source:
        source.write(
            "train.py", "from kit import names\ntry:\n    import absent\nexcept ImportError:\n    pass\n"
        )
        source.write("kit/names.py", "x = 1\n")
        return source

    def test_nobody_that_is_not_installed(self, document: Source) -> None:
        around = Surroundings(installed=frozenset({"numpy"}), knows_all=True)
        assert document.code(around=around).why_docstrings is None

    def test_maybe_what_is_installed_under_the_name_of_a_folder(self, document: Source) -> None:
        around = Surroundings(installed=frozenset({"kit"}), knows_all=True)
        assert document.code(around=around).why_docstrings == "kit is imported, which may read docstrings"

    def test_maybe_anything_when_it_is_not_known_what_is_installed(self, document: Source) -> None:
        assert document.code(around=Surroundings(installed=frozenset({"numpy"}))).why_docstrings is not None


def test_steps_that_share_their_files_have_the_code_that_each_has_alone(source: Source) -> None:
    source.write("run", "import helper\n")
    alone = [source.code(entry) for entry in ("run", "train.py", "prepare.py")]
    sources = source.files()
    assert [code_of(sources, entry, scope="imports") for entry in ("run", "train.py", "prepare.py")] == alone


def test_a_local_namesake_of_an_installed_module_counts(source: Source) -> None:
    before = source.code().as_document()
    source.write("pytz.py", "x = 1\n")
    assert source.code().as_document() == before
    assert "pytz.py" in source.code(around=Surroundings(installed=frozenset({"pytz"}))).files


def test_modules_that_a_changed_path_may_give_are_those_of_which_the_directory_has_nothing(
    source: Source,
) -> None:
    source.write("lib/near.py", "")
    source.append("train.py", "import near, far\n")
    assert (source.code().elsewhere, source.code().why_elsewhere) == ((), None)
    source.append("train.py", "import sys\nsys.path.append(where)\n")
    assert source.code().elsewhere == ("far", "pandas")
    assert source.code().why_elsewhere == "train.py: line 11 uses sys.path"


def test_a_folder_that_pythonpath_names_counts(source: Source) -> None:
    source.write("lib/free.py", "")
    source.append("train.py", "import free\n")
    assert "lib/free.py" not in source.code().files
    assert "lib/free.py" in source.code(around=Surroundings(python_path=("lib/",))).files


def test_a_warm_call_reads_no_source(source: Source) -> None:
    memory = Notebook()
    cold = source.code(remember=memory)
    source.reads.clear()
    assert source.code(remember=memory) == cold
    assert source.reads == []
    source.append("helper.py", "x = 1\n")
    assert source.code(remember=memory) != cold
    assert source.reads == ["helper.py"]


def test_a_warm_call_remembers_what_does_not_parse(source: Source) -> None:
    source.write("helper.py", "def (\n")
    memory = Notebook()
    cold = source.code(remember=memory)
    source.reads.clear()
    assert source.code(remember=memory) == cold
    assert source.reads == []


def test_a_damaged_memory_is_a_forgotten_one(source: Source) -> None:
    memory = Notebook()
    cold = source.code(remember=memory)
    for damage in ("", "[]", "{}", '{"imports": [1]}'):
        memory.facts = dict.fromkeys(memory.facts, damage)
        assert source.code(remember=memory) == cold


def test_a_file_that_changes_while_it_is_read_counts_by_what_was_read(source: Source) -> None:
    memory = Notebook()

    def change_before_reading(path: Path) -> bytes:
        if path.name == "helper.py":
            source.write("helper.py", "def (\n")
        return path.read_bytes()

    code = source.code(read=change_before_reading, remember=memory)
    assert code.files["helper.py"] == "sha256:" + hashlib.sha256(b"def (\n").hexdigest()
    source.write("helper.py", FILES["helper.py"])
    assert source.code(remember=memory) == source.code()


@pytest.mark.parametrize("module", ["airflow_mlpipe", "azureml.core"])
def test_code_that_asks_for_earlier_steps_cannot_be_determined(source: Source, module: str) -> None:
    source.append("helper.py", "def best(run): return max(run.parent.get_children())\n")
    assert source.code().undetermined == ()  # get_children of something else, as there is no run
    source.append("train.py", f"from {module} import Run\n")
    why = "helper.py: line 6 uses get_children, and what other steps logged is no declared input"
    assert source.code().undetermined == source.code(scope="directory").undetermined == (why,)
