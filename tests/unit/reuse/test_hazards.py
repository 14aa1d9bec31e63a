from __future__ import annotations

import ast

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
        "import shutil; shutil.copytree('.', out)",
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
    ],
)
def test_everyday_code_has_no_hazard(source: str) -> None:
    assert hazards(source) == Hazards()


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
    ],
)
def test_code_that_reads_docstrings_is_found(source: str) -> None:
    assert hazards(source).docstrings is not None


def test_the_sentence_names_the_first_line_and_what_is_there() -> None:
    source = "import os\n\ndef f():\n    os.popen('x')\n\nos.system('y')\n"
    assert hazards(source).dynamic == "line 4 uses os.popen"
