"""Where things lie in a datastore: pure functions from ids to keys.

A key is a relative path in posix form. Everything is kept below :data:`ROOT`, so that a bucket may be
shared with other uses, and a later layout may live beside this one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal
from urllib.parse import quote

from airflow_mlpipe.errors import StoreError

RegisteredKind = Literal["dataset", "model"]

ROOT = "mlpipe/v1"
ATTEMPTS = f"{ROOT}/attempts"
SNAPSHOTS = f"{ROOT}/snapshots"
JOURNALS = f"{ROOT}/journal"
RUNS = f"{ROOT}/runs"
WATCHES = f"{ROOT}/watches"
DATASETS = f"{ROOT}/datasets"
MODELS = f"{ROOT}/models"
MODEL_FILES = f"{ROOT}/model-files"

EMPTY_FOLDER = ".mlpipe-empty"
"""Stands for an empty folder, which object stores do not know; it is no data."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_PART = 200


def check_key(key: str) -> str:
    """*key* itself when it names a place inside a datastore, StoreError otherwise.

    Refused are absolute keys, empty parts, ``.`` and ``..``, backslashes, control characters, and names
    that are not UTF-8: on some store each of them would name another place, or none.
    """
    if any(part in ("", ".", "..") for part in key.split("/")):
        problem = "it must be relative, without empty parts, '.' or '..'"
    elif "\\" in key or _CONTROL.search(key):
        problem = "it must not hold backslashes or control characters"
    elif not _is_utf8(key):
        problem = "it must be valid UTF-8"
    else:
        return key
    raise StoreError(f"{key!r} cannot be the name of something in a datastore: {problem}; rename it")


def manifest_key(fingerprint: str) -> str:
    """The manifest that makes the outputs of *fingerprint* real."""
    return f"{_step_prefix(fingerprint)}/manifest.json"


def steps_prefix(digits: str = "") -> str:
    """The folder of all steps whose fingerprints begin with these two hex *digits*; of all steps for ""."""
    return f"{ROOT}/steps/{digits}".rstrip("/")


def lease_key(fingerprint: str) -> str:
    """The document that says who is producing *fingerprint*."""
    return f"{_step_prefix(fingerprint)}/lease.json"


def attempt_prefix(attempt: str) -> str:
    """The folder of one attempt: its specification, result, log and outputs."""
    return f"{ATTEMPTS}/{_checked_id('attempt', attempt)}"


def copies_key(attempt: str) -> str:
    """The folder of the inputs that are copied from a worker's disk, for as long as the attempt runs."""
    return f"{attempt_prefix(attempt)}/inputs"


def output_key(attempt: str, name: str) -> str:
    """The file or folder that an attempt writes as its output *name*."""
    return f"{attempt_prefix(attempt)}/outputs/{check_output_name(name)}"


def check_output_name(name: str) -> str:
    """*name* itself when an output may have it, StoreError otherwise."""
    return _checked_id("output name", name)


def kept_files_key(attempt: str) -> str:
    """The folder of what an attempt keeps besides its outputs."""
    return f"{attempt_prefix(attempt)}/files"


def metrics_key(attempt: str) -> str:
    """What an attempt logged, line by line."""
    return f"{attempt_prefix(attempt)}/metrics.jsonl"


def listing_key(attempt: str, name: str) -> str:
    """The list of the files of a folder output, when they are too many for its manifest."""
    return f"{attempt_prefix(attempt)}/listings/{check_output_name(name)}.jsonl"


def snapshot_key(digest: str) -> str:
    """The archive of a step's code."""
    return f"{SNAPSHOTS}/{_checked_digest('snapshot digest', digest)}.tar.gz"


def environment_lock_key(digest: str) -> str:
    """The resolved packages of an environment."""
    return f"{ROOT}/environments/{_checked_digest('environment digest', digest)}.txt"


def journal_key(dag_id: str, task_id: str, map_index: int = -1) -> str:
    """The latest fingerprints of one task; *map_index* is -1 for a task that is not mapped."""
    return f"{JOURNALS}/{_encoded(dag_id)}/{_encoded(task_id)}/{map_index}.json"


def values_journal_key(dag_id: str, task_id: str, digest: str) -> str:
    """The latest fingerprints of mapped instances whose values have a *digest* that begins like this one.

    There are 4096 for each task, so that they never need cleaning.
    """
    checked = _checked_digest("digest of values", digest)
    return f"{JOURNALS}/{_encoded(dag_id)}/{_encoded(task_id)}/values-{checked[:3]}.json"


def recipe_key(fingerprint: str) -> str:
    """The recipe that was run, for explanations: it is there also when nothing was sealed."""
    return f"{_step_prefix(fingerprint)}/recipe.json"


def invalidation_key(fingerprint: str) -> str:
    """Who took the outputs of *fingerprint* away, when and why."""
    return f"{_step_prefix(fingerprint)}/invalidated.json"


def run_record_key(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """What one task instance decided and made; *map_index* is -1 for a task that is not mapped."""
    return f"{run_records_prefix(dag_id, run_id, task_id)}/{map_index}.json"


def run_records_prefix(dag_id: str, *inner: str) -> str:
    """The folder of the records of a DAG, of one of its runs, or of one task of such a run."""
    return "/".join([RUNS, *(_encoded(part) for part in (dag_id, *inner))])


def registered_key(kind: RegisteredKind, name: str, version: int) -> str:
    """The record of one version of a registered dataset or model."""
    return f"{registered_prefix(kind, name)}/{version:08d}.json"


def registered_prefix(kind: RegisteredKind, name: str = "") -> str:
    """The folder of the records of all versions of *name*; of all names for ""."""
    root = DATASETS if kind == "dataset" else MODELS
    return f"{root}/{check_registered_name(name)}" if name else root


def registration_mark_key(kind: RegisteredKind, name: str, what: str) -> str:
    """The note that *what* of a step, named by a text of any length, stands in a version of *name*."""
    digest = hashlib.sha256(what.encode()).hexdigest()
    return f"{ROOT}/registered/{kind}/{check_registered_name(name)}/{digest}.json"


def check_registered_name(name: str) -> str:
    """*name* itself when a dataset or model may be registered under it, StoreError otherwise."""
    return _checked_id("registered name", name)


def model_files_key(name: str, version_id: str, leaf: str) -> str:
    """The file or folder *leaf* that one version of a model is."""
    return check_key(f"{model_files_prefix(name, version_id)}/files/{leaf}")


def model_listing_key(name: str, version_id: str) -> str:
    """The list of the files of a model, when they are too many for its record."""
    return f"{model_files_prefix(name, version_id)}/listing.jsonl"


def model_files_prefix(name: str, version_id: str) -> str:
    """The folder of what belongs to one version of a model."""
    return f"{MODEL_FILES}/{check_registered_name(name)}/{_checked_id('version id', version_id)}"


def watch_bookmark_key(dag_id: str, task_id: str, map_index: int = -1) -> str:
    """How far a task that waits for changes of data has read; *map_index* is -1 when it is not mapped."""
    return f"{WATCHES}/tasks/{_encoded(dag_id)}/{_encoded(task_id)}/{map_index}.json"


def watch_listing_key(watch: str, sequence: int) -> str:
    """What lay at a watched place when its change number *sequence* was told."""
    return f"{WATCHES}/listings/{_checked_id('watch', watch)}/{sequence:08d}.json.gz"


def mirror_key(digest: str) -> str:
    """The note that somebody was shown what a mirror would delete."""
    return f"{ROOT}/mirrors/{_checked_digest('mirror digest', digest)}.json"


def lock_key(key: str) -> str:
    """The file to lock while *key* changes: one of 256, so that they never need cleaning."""
    return f"{ROOT}/locks/{hashlib.sha256(key.encode()).hexdigest()[:2]}"


def _step_prefix(fingerprint: str) -> str:
    return f"{ROOT}/steps/{_checked_digest('fingerprint', fingerprint)[:2]}/{fingerprint}"


def _checked_digest(what: str, text: str) -> str:
    if _DIGEST.fullmatch(text):
        return text
    raise StoreError(f"{what} {text!r} is not a SHA-256 digest; give 64 lower-case hexadecimal digits")


def _checked_id(what: str, text: str) -> str:
    if _ID.fullmatch(text):
        return text
    raise StoreError(
        f"{what} {text!r} cannot be part of a key; use up to 200 letters, digits, '.', '_' or '-', "
        "starting with a letter, a digit or '_'"
    )


def _encoded(text: str) -> str:
    """*text* as one part of a key: reversible, unless it is too long for a file name."""
    if not text:
        raise StoreError("an empty dag id or task id cannot be part of a key; give the id that Airflow knows")
    if not _is_utf8(text):
        raise StoreError(f"{text!r} cannot be part of a key: it is no UTF-8; give the id that Airflow knows")
    encoded = quote(text, safe="").replace("~", "%7E")
    if not text.strip("."):
        encoded = encoded.replace(".", "%2E")
    if len(encoded) <= _LONGEST_PART:
        return encoded
    return f"{encoded[:120]}.{hashlib.sha256(text.encode()).hexdigest()}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
