"""The process that the carrier has ready to supervise a step."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def said_by(program: str) -> str:
    """What *program* prints, in a process of its own: it forks, and changes how signals are taken."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_it_ends_by_itself_when_there_is_nothing_to_supervise_whoever_started_the_carrier() -> None:
    told = said_by("""
        import os, signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as a shell that started this may have left it
        from airflow_mlpipe.carrier.signals import Signals
        from airflow_mlpipe.carrier.supervision import Supervision
        signals, supervision = Signals(), Supervision()
        os.close(supervision._orders)
        while not supervision.wait(5): pass
        print(supervision.returncode)
        """)
    assert told == "0\n"


def test_a_signal_that_comes_while_its_end_is_found_out_is_heard_and_harmless() -> None:
    told = said_by("""
        import os, signal
        from airflow_mlpipe.carrier.signals import Signals
        from airflow_mlpipe.carrier.supervision import Supervision
        signals, supervision = Signals(), Supervision()
        waitpid = os.waitpid

        def interrupted(*arguments):
            found = waitpid(*arguments)
            os.kill(os.getpid(), signal.SIGTERM)
            return found

        os.waitpid = interrupted
        os.close(supervision._orders)
        with signals.handed_to(supervision):
            while not supervision.wait(5): pass
        print(supervision.returncode, signals.termination_requested)
        """)
    assert told == "0 True\n"


def test_it_does_not_outlive_a_carrier_that_is_killed() -> None:
    reader, writer = os.pipe()
    program = """
        import os, signal
        from airflow_mlpipe.carrier.supervision import Supervision
        supervision = Supervision()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    carrier = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b""  # nobody has the other end any more
    assert carrier.wait(60) == -9


def test_a_machine_with_no_room_for_another_process_may_have_it_later() -> None:
    told = said_by("""
        import errno, os, pathlib, tempfile

        def fork():
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        os.fork = fork
        from airflow_mlpipe.carrier.carrier import main
        folder = pathlib.Path(tempfile.mkdtemp())
        print(main(folder, folder))
        """)
    assert told.splitlines() == [
        "mlpipe-carrier: infrastructure: [Errno 11] Resource temporarily unavailable",
        "70",
    ]
