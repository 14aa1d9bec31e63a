from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from airflow_mlpipe.reuse.hazards import Hazards, find_hazards


def hazards(source: str) -> Hazards:
    return find_hazards(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "import importlib",
        "import importlib.metadata; importlib.metadata.version('x')",
        "from importlib import import_module as load",
        "from concurrent import interpreters",
        "__import__('a')",
        "getattr(x, '__import__')('a')",
        "exec('import a')",
        "eval('f()')",
        "run = exec",
        "compile('x', 'y', 'exec')",
        "import builtins as b; b.exec('import a')",
        "globals()['f']()",
        "import runpy, pkgutil",
        "import subprocess",
        "import os; os.system('python a.py')",
        "import os as o; o.execv('python', [])",
        "from os import popen",
        "from os import *",
        "import os\ndef f(m=os): m.system('x')",
        "import os; getattr(os, 'system')('x')",
        "import sys; sys.path.insert(0, 'lib')",
        "from sys import path",
        "import sys; sys.modules['a']",
        "from compat import pickle; pickle.load(f)",
        "import compat; compat.os.system('x')",
        "import pickle as for_others",
        "import pickle; pickle.loads(b'')",
        "from joblib import load; load('model')",
        "import torch; torch.load('model')",
        "import numpy; numpy.load('x', allow_pickle=True)",
        "import pandas as pd; pd.read_pickle('x')",
        "import yaml; yaml.load(f, Loader=yaml.UnsafeLoader)",
        "AutoModel.from_pretrained('.', trust_remote_code=True)",
        "__path__ = []",
        "import logging.config",
        "import asyncio; asyncio.create_subprocess_exec('python')",
        "open('helper.py')",
        "ROOT.glob('*.py')",
        "import os; os.walk(os.path.dirname(__file__))",
        "from pathlib import Path; list(Path().iterdir())",
        "from pathlib import Path; list(Path('').iterdir())",
        "import os; os.listdir(os.path.abspath(''))",
        "import os; here = '.'\nos.listdir(here)",
        "import os\ndef f(folder='.'): os.listdir(folder)",
        "import os; parser.add_argument('--root', default='.'); os.walk(args.root)",
        "from os import walk as w; w('.')",
        "import glob; glob.glob('*')",
        "from glob import iglob as find; find('**/*', recursive=True)",
        "import shutil; shutil.copytree('.', out)",
        "import tarfile; tarfile.open('code.tar', 'w').add('.')",
        "from importlib import resources; resources.files('package')",
        "import pkgutil; pkgutil.get_data('package', 'a.json')",
        "import pyximport; pyximport.install()",
        "from helper import __path__ as where",
        "import typing; typing.TYPE_CHECKING = True",
        "import typing; setattr(typing, 'TYPE_CHECKING', True)",
    ],
)
def test_code_that_may_import_or_run_other_files_is_dynamic(source: str) -> None:
    assert hazards(source).dynamic is not None


@pytest.mark.parametrize(
    "source",
    [
        "import re; re.compile('x')",
        "from re import compile; compile('x')",
        "model.eval(); df.eval('a + b')",
        "import pickle; pickle.dump(model, f)",
        "import json; json.load(f)",
        "import torch; torch.save(m); torch.load('w', weights_only=True)",
        "import numpy as np; np.load('x', allow_pickle=False)",
        "import os; os.path.join(os.getcwd(), os.environ['X'])",
        "import sys; sys.argv; sys.exit(0)",
        "import os; os.listdir(args.data)",
        "from pathlib import Path; Path(args.data).glob('*.csv')",
        "import yaml; yaml.safe_load(f)",
        "parser.add_argument('--x', help='why')",
        "import multiprocessing; multiprocessing.Pool()",
        "row.code; request.path; frame.site",
        "import joblib; joblib.dump(model, f); joblib.Parallel(2)",
        "import pathlib; config = pathlib.Path(__file__).resolve().parent / 'config.yaml'",
        "import os; here = os.path.dirname(os.path.abspath(__file__))",
        "import os, sys; here = os.path.dirname(sys.argv[0]); rate = sys.argv[1]",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING: pass",
        "import tarfile; tarfile.open(args.data).extractall(args.out)",
        "import logging; logging.basicConfig(format='%(name)s: %(message)s')",
        "import glob; glob.glob('*.csv'); glob.glob('*', root_dir=args.data)",
        "import os; os.listdir(args.data); '.'.join(names); name.split('.'); f'{name}.{number}'",
        "args = parser.parse_args(); print(vars(args))",
        "args, rest = parser.parse_known_args(); print(vars(args), vars(parser.parse_args()))",
        "for dir in folders: print(dir)",
        "import logging; logging.exception('why')",
    ],
)
def test_everyday_code_has_no_hazard(source: str) -> None:
    assert replace(hazards(source), lister=None) == Hazards()


@pytest.mark.parametrize(
    "source",
    [
        "import inspect; inspect.getsource(f)",
        "from inspect import getsourcelines as lines",
        "import inspect; getattr(inspect, name)",
        "import linecache",
        "import traceback; traceback.print_exc()",
        "import sys; sys._getframe().f_lineno",
        "error.__traceback__.tb_lineno",
        "f.__code__",
        "import ast; ast.parse(open(__file__).read())",
        "open(helper.__file__)",
        "import torch\n@torch.jit.script\ndef f(): ...",
        "open('helper.py')",
        "import sys; print(open(sys.argv[0]).read())",
        "from helper import __file__ as where",
        "import tracemalloc",
        "'{0.__code__}'.format(f)",
        "import logging; logging.basicConfig(format='%(filename)s:%(lineno)d %(message)s')",
        "import logging; logging.Formatter('{lineno:>4} {message}', style='{')",
        "import logging; logging.Formatter('${lineno} $message', style='$')",
        "'{0.lineno}'.format(record)",
        "repr(generator.gi_frame)",
        "import faulthandler; faulthandler.dump_traceback(f)",
        "import cloudpickle; cloudpickle.dump(f, out)",
    ],
)
def test_code_that_reads_source_or_line_numbers_counts_by_its_text(source: str) -> None:
    assert hazards(source).text is not None


@pytest.mark.parametrize(
    "source",
    [
        "print(__doc__)",
        "f.__doc__",
        "getattr(f, '__doc__')",
        "import inspect; inspect.getdoc(f)",
        "from inspect import getdoc",
        "help(f)",
        "import doctest",
        "import pydoc",
        "from docopt import docopt",
        "from helper import __doc__ as text",
        "'{0.__doc__}'.format(helper)",
        "vars(helper)",
        "f = vars",
        "args = parser.parse_args()\ndef f(args): return vars(args)",
        "args = parser.parse_args(); import helper as args; vars(args)",
        "Model.__dict__.items()",
        "[getattr(helper, name) for name in dir(helper)]",
        "locals()",
        "import inspect; inspect.getmembers(helper)",
        "from inspect import getmembers_static as members",
        "import inspect; inspect.classify_class_attrs(Model)",
    ],
)
def test_code_that_reads_docstrings_is_found(source: str) -> None:
    assert hazards(source).docstrings is not None


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.path.insert(0, '/opt/shared')",
        "from sys import path; path.append('lib')",
        "import sys as s; s.meta_path.append(finder)",
        "import site; site.addsitedir('/opt/shared')",
    ],
)
def test_code_that_changes_where_python_looks_is_found_and_dynamic(source: str) -> None:
    assert hazards(source).path is not None
    assert hazards(source).dynamic is not None


@pytest.mark.parametrize(
    "source",
    [
        "import os; os.listdir(folder)",
        "from os import scandir as look; look(folder)",
        "import glob; glob.glob(pattern)",
        "path.rglob('*')",
        "import shutil; shutil.copytree(folder, out)",
        "import shutil; shutil.move(folder, out)",
        "import tarfile; tarfile.open(out, 'w').add(folder)",
        "import filecmp; filecmp.dircmp(one, other)",
        "import zipfile; zipfile.PyZipFile('a.zip', 'w').writepy(folder)",
    ],
)
def test_code_that_lists_or_packs_folders_is_found_and_nothing_else_for_that(source: str) -> None:
    assert hazards(source).lister is not None
    assert replace(hazards(source), lister=None) == Hazards()


def test_the_sentence_names_the_first_line_and_what_is_there() -> None:
    source = "import os\n\ndef f():\n    os.popen('x')\n\nos.system('y')\n"
    assert hazards(source).dynamic == "line 4 uses os.popen"


@pytest.mark.parametrize(
    "source",
    [
        "for child in run.parent.get_children(): pass",
        "getattr(run.parent, 'get_children')()",
        "ask = run.parent.get_children",
    ],
)
def test_asking_for_what_other_steps_logged_is_undeclared(source: str) -> None:
    found = hazards(source)
    assert found.undeclared is not None
    assert replace(found, undeclared=None) == Hazards()
