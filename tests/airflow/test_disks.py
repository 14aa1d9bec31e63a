"""A step on real disks that refuse: full at any moment after the script has begun, or mounted read-only."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]
IN_A_NAMESPACE = ["unshare", "--map-root-user", "--mount"]
PROGRAM = """
import os, sys, time
from pathlib import Path
from tools.lone_step import LoneStep

# It fills the disk of its output, but for some pages, and while it is told to.
SCRIPT = '''
import os, pathlib, sys
with open(sys.argv[1], "a") as runs:
    runs.write("x")
pathlib.Path(sys.argv[2]).write_text("made")
pages = pathlib.Path(sys.argv[1]).with_name("pages")
if pages.exists():
    store = sys.argv[2].partition("/mlpipe/")[0]
    space = os.statvfs(store)
    free = space.f_bavail * space.f_frsize
    pathlib.Path(store, "ballast").write_bytes(bytes(max(0, free - int(pages.read_text()) * 4096)))
'''
step = LoneStep(Path(sys.argv[1]), SCRIPT)

def attempt(number):
    try:
        return step.run("run", number).decision["action"]
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def check(done):
    assert done in ("ran", "reused"), done
    [manifest] = step.store.rglob("manifest.json")
    assert b"made" in manifest.read_bytes()
    assert (next(step.store.rglob("outputs/made"))).read_text() == "made"
"""


def run_with_a_disk(folder: Path, size: str, code: str) -> str:
    """What *code* prints, run after PROGRAM in a process that has a disk of *size* as its datastore."""
    if subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a disk: 'unshare --map-root-user --mount true' fails")
    store = folder / "store"
    store.mkdir()
    mount = f'mount -t tmpfs -o size={size} tmpfs "{store}" && exec "$0" "$@"'
    program = PROGRAM + textwrap.dedent(code)
    done = subprocess.run(
        [*IN_A_NAMESPACE, "sh", "-c", mount, sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_disk_that_is_full_at_any_moment_costs_a_sentence_and_nothing_else(tmp_path: Path) -> None:
    said = run_with_a_disk(
        tmp_path,
        "1m",
        """
        import shutil
        for pages in range(4):
            for place in step.store.iterdir():
                shutil.rmtree(place)
            (step.folder / "runs").unlink(missing_ok=True)
            (step.folder / "pages").write_text(str(pages))
            first = attempt(1)
            print("SAID", pages, first.replace(chr(10), " "))
            for manifest in step.store.rglob("manifest.json"):
                assert first == "ran", first
            (step.folder / "pages").unlink()
            (step.store / "ballast").unlink()
            had_finished = list(step.store.rglob("result.json"))
            check(attempt(2))
            assert step.executions <= (1 if had_finished else 2), (pages, first)
            (step.store / "ballast").unlink(missing_ok=True)
        """,
    )
    sentences = [line for line in said.splitlines() if line.startswith("SAID")]
    failures = [line for line in sentences if not line.endswith(" ran")]
    assert 0 < len(failures) < len(sentences)
    for line in failures:
        assert re.search(r"(StoreError: |Lost: .*)cannot .*No space left on device.*has room", line), line


def test_a_datastore_that_is_read_only_fails_the_step_with_a_sentence(tmp_path: Path) -> None:
    said = run_with_a_disk(
        tmp_path,
        "1m",
        """
        def remount(how):
            # The supervisor of a step that has ended may still hold its lock, and keep the disk busy.
            tries = 0
            while os.system(f"mount -o remount,{how} {step.store}") != 0:
                tries += 1
                assert tries < 100
                time.sleep(0.1)

        remount("ro")
        print("SAID", attempt(1))
        assert step.executions == 0
        remount("rw")
        check(attempt(2))
        remount("ro")
        print("THEN", attempt(3))
        """,
    )
    assert "SAID StoreError: cannot create file://" in said
    assert "Read-only file system" in said
    assert "THEN reused" in said
