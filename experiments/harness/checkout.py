"""Which commit of the project is at work."""

import subprocess
from pathlib import Path

from experiments.harness.status import ROOT

DIGITS = 12
CHANGED = " and changes"


def commit(root: Path = ROOT) -> str:
    """Return the checkout's commit, and whether anything differs from it; empty where there is no checkout or no git.

    A file that git does not track is a difference where an implementation or an experiment may be found.
    """
    if _git(root, "rev-parse", "--show-toplevel") != str(root):
        return ""  # it may lie in the checkout of something else
    differ = _git(root, "status", "--porcelain", "--untracked-files=no")
    added = _git(root, "ls-files", "--others", "--exclude-standard", "--", "baselines", "experiments")
    head = _git(root, "rev-parse", "HEAD")[:DIGITS]
    return head + CHANGED if head and (differ or added) else head


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; nothing where it fails."""
    try:
        said = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
