"""One fresh environment for every pair of PyTorch and Python versions, and in each the same check: `make matrix`.

An environment holds PyTorch, a NumPy that fits, learn2learn and higher (`requirements/libraries.txt`) and nothing else,
so JAX and TorchOpt are unavailable there; it runs `python -m experiments.harness regress` from this checkout. What
cannot be had is a row with its reason in the table, never the end of the others. Each takes several GB and is removed
when its check is done, unless KEEP is set.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

import nox

from experiments.harness.status import scrub

STORES = Path("results/matrix")  # a results folder for each pair
REQUIREMENTS = Path("requirements")
PINS = REQUIREMENTS / "constraints.txt"
FIRST_WITH_NUMPY_2 = (2, 3)  # earlier PyTorch was built for NumPy 1
LAST_NUMPY_1 = "numpy==1.26.4"


class Pair(NamedTuple):
    """What makes an environment."""

    torch: str
    python: str

    @property
    def name(self) -> str:
        """Of its session and its results folder."""
        return f"torch{self.torch}-py{self.python}"

    def numpy(self) -> str:
        """The NumPy that fits: the pinned one, where PyTorch is not older than NumPy 2."""
        old = tuple(int(part) for part in self.torch.split(".")[:2]) < FIRST_WITH_NUMPY_2
        return LAST_NUMPY_1 if old else next(line for line in _lines(PINS) if line.startswith("numpy=="))


def pairs(torch: str, python: str) -> list[Pair]:
    """Every pair of two lists, such as "2.4.1 2.8.0" and "3.11"; ValueError says what is wrong with them."""
    for name, given, form, example in (
        ("TORCH", torch, r"\d+\.\d+\.\d+", "2.4.1 2.8.0"),
        ("PYTHON", python, r"3\.\d+", "3.11 3.12"),
    ):
        for version in given.split() or ["nothing"]:
            if not re.fullmatch(form, version):
                raise ValueError(f'{name}: {version} is no version; give one or more, as in {name}="{example}"')
    return list(dict.fromkeys(Pair(*versions) for versions in product(torch.split(), python.split())))


def interpreter(version: str) -> str | None:
    """The first Python of this version that starts and can make environments: on the PATH, or one of pyenv's.

    For every version that pyenv has, the PATH holds a shim, which starts only where that version is switched on.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    ask = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for folder in (*map(Path, os.get_exec_path()), *sorted(pyenv.glob(f"versions/{version}.*/bin"))):
        found = folder / f"python{version}"
        with suppress(OSError):  # no such file, or none that can be started
            answer = subprocess.run([found, "-c", ask], capture_output=True, text=True, check=False)
            if answer.stdout.strip() == version:
                return str(found)
    return None


def why_not(pair: Pair, said: str) -> str:
    """Why PyTorch did not install, by what pip said. pip's own words name hosts and paths, and are not repeated."""
    if "Retrying (Retry(total=0" in said:  # the last time
        return f"the package index could not be reached for torch {pair.torch}"
    if "No matching distribution found for torch==" in said:
        return f"torch {pair.torch} has no build for Python {pair.python}"
    if "No space left on device" in said:
        return f"there is no space left for torch {pair.torch}"
    return f"torch {pair.torch} could not be installed for Python {pair.python}"


def check(session: nox.Session, pair: Pair) -> None:
    """Install, run the check, and take the environment down again."""
    python = str(Path(session.bin, "python"))
    try:
        reason = _install(session, pair, python) or _measure(session, pair, python)
    finally:
        if not os.environ.get("KEEP"):
            shutil.rmtree(session.virtualenv.location, ignore_errors=True)
    _conclude(session, pair, reason)


def _install(session: nox.Session, pair: Pair, python: str) -> str:
    """Why it failed, or nothing. Where a library does not install, the check itself says that it is missing."""
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _failure([*pip, "--upgrade", "--constraint", str(PINS), "pip"])
    session.log(f"installing torch {pair.torch} for Python {pair.python}: several GB, a minute or more")
    # without pip's cache, which would keep those GB; the wheels that it builds of the libraries may stay there
    if said := _failure([*pip, "--no-cache-dir", f"torch=={pair.torch}", pair.numpy()]):
        return why_not(pair, said)
    for library in _lines(REQUIREMENTS / "libraries.txt"):
        session.log(f"installing {library.split()[0]}")
        _failure([*pip, "--no-deps", "--build-constraint", str(REQUIREMENTS / "build.txt"), *shlex.split(library)])
    return ""


def _measure(session: nox.Session, pair: Pair, python: str) -> str:
    """Why the check did not run, or nothing."""
    session.log("checking every implementation")
    command = [python, "-m", "experiments.harness", "regress", "--results", str(STORES / pair.name), "--device", "cpu"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    print(done.stderr, end="", file=sys.stderr)
    said = done.stderr.strip().splitlines() or ["it said nothing"]
    return f"the check did not run: {scrub(said[-1])}" if done.returncode else ""


def _failure(command: list[str]) -> str:
    """What a command said, where it failed: it is shown, too."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    said = (done.stdout.strip() or "it said nothing") if done.returncode else ""
    print(said, end="\n" * bool(said), file=sys.stderr)
    return said


def _conclude(session: nox.Session, pair: Pair, reason: str = "") -> None:
    """Keep what became of a pair for the table; one that is not available is no failure of the run."""
    file = STORES / pair.name / "pair.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**pair._asdict(), "reason": reason}) + "\n")
    if reason:
        session.skip(reason)


def _lines(file: Path) -> list[str]:
    """The requirements in a file."""
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def _declare(asked: list[Pair]) -> None:
    """A session for each pair, and last the one that merges what they found into the table."""
    for pair in asked:
        python = interpreter(pair.python)

        @nox.session(name=pair.name, python=python or False, venv_backend="venv" if python else "none")
        def one(session: nox.Session, pair: Pair = pair, found: bool = bool(python)) -> None:
            shutil.rmtree(STORES / pair.name, ignore_errors=True)
            if found:
                check(session, pair)
            else:
                _conclude(session, pair, f"there is no Python {pair.python} here that starts")

    @nox.session(python=False)
    def table(session: nox.Session) -> None:
        stores = [str(STORES / pair.name) for pair in asked]
        session.run(sys.executable, "-m", "analysis.checks.matrix", *stores, external=True)


try:
    _declare(pairs(os.environ.get("TORCH", ""), os.environ.get("PYTHON", "")))
except ValueError as error:
    sys.exit(print(f"make matrix: {error}", file=sys.stderr) or 2)
