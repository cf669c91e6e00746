"""How a cell can end, other than well."""

import re
import socket
from pathlib import Path

from experiments.harness.records import Row, Status

ROOT = Path(__file__).resolve().parent.parent.parent


class Stopped(Exception):
    """Ends the measuring of a cell; `row`, or `rows` in its place, keep what may still be shown of it."""

    status: Status

    def __init__(self, reason: str, row: Row | None = None, rows: list[Row] | None = None) -> None:
        super().__init__(reason)
        self.row, self.rows = row or {}, rows


class Unavailable(Stopped):
    """The implementation cannot serve the case, or its library is not there."""

    status = Status.UNAVAILABLE


class Lacking(Unavailable):
    """The machine lacks what the implementation needs, whatever the case: there may be more tomorrow."""


class Wrong(Stopped):
    """It does not compute what it says it computes."""

    status = Status.WRONG


class Expected(Stopped):
    """It fails as it is known to: a limitation of its library, named in the reason."""

    status = Status.EXPECTED


class Diverged(Stopped):
    """A training run left the finite numbers."""

    status = Status.DIVERGED


def classify(error: BaseException) -> tuple[Status, str]:
    """Return the status, and the reason in one line, for whatever a worker raised."""
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, Stopped):
        return error.status, scrub(text)
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return Status.OOM, scrub(text)[:300]
    return Status.FAILED, scrub(f"{type(error).__name__}: {text}")[:300]


def scrub(text: str) -> str:
    """Take paths of this machine, its name and addresses out of a text that is going to be stored."""
    text = text.encode(errors="replace").decode().replace(f"{ROOT}/", "")
    text = re.sub(r"\b(?:https?|file|ftp)://\S+", "<address>", text)
    text = re.sub(r"(?<![\w.<])~?/(?:[\w.@+-]+/)+([\w.@+-]*)", r"…/\1", text)
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "<host>", text) if len(host) > 2 else text
