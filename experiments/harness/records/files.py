"""Read and write files as a whole: no reader ever finds half of one under its name; of the standard library alone."""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

PART = ".part"
"""How the name of a file ends that is being written; it begins with a dot."""


def write_whole(path: Path, content: bytes, durable: bool = True) -> None:
    """Put `content` into a file in the place of what was there; on OSError that stays.

    durable: wait until it is on the disk, so that it outlives a power failure.
    """
    part = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=PART, delete=False) as file:
            part = file.name
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            Path(part).unlink()
        raise


def sha256(path: Path) -> str:
    """Return the digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
