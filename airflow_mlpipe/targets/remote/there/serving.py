"""Answers requests, one after the other, as long as somebody asks.

A request is a line of JSON with the ``verb`` and its arguments, and may be followed by bytes that the verb
reads. An answer is a line of JSON: ``{"answer": ...}``, or ``{"failure": kind, "message": ...}`` with the
kind ``target`` for what will fail again, and ``infrastructure`` for what may pass.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM}

Verb = Callable[..., dict[str, Any]]


class Refused(Exception):
    """The machine cannot do what it was asked for; the message says why."""


def serve(verbs: dict[str, Verb], stream: BinaryIO) -> None:
    """Answer what is asked on *stream*. A verb gets it, then the request's arguments by their names."""
    while line := stream.readline():
        sys.stdout.write(json.dumps(_answered(verbs, stream, json.loads(line))) + "\n")
        sys.stdout.flush()


def _answered(verbs: dict[str, Verb], stream: BinaryIO, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": verbs[request.pop("verb")](stream, **request)}
    except Refused as error:
        return {"failure": "target", "message": str(error)}
    except OSError as error:
        kind = "infrastructure" if error.errno in PASSING else "target"
        return {"failure": kind, "message": str(error)}
