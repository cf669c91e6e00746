"""The packages that maml-bench consists of, and what happens where a user has others of the same names."""

from importlib.util import find_spec
from pathlib import Path

from experiments.harness.refusals import BadRequest
from experiments.harness.status import ROOT

PACKAGES = ("analysis", "baselines", "experiments", "maml_bench")


def refuse_hidden() -> None:
    """Raise BadRequest where a package of the user's hides one of ours.

    `python -m experiments` looks into the present folder first, the command `maml-bench` and measuring processes never
    do. A folder that hides `experiments` itself is run in its place, and nothing of ours can tell.
    """
    for name in PACKAGES:
        spec = find_spec(name)
        places = (spec.submodule_search_locations or [spec.origin or ""]) if spec else []
        if [Path(place).resolve() for place in places] != [ROOT / name]:
            raise BadRequest(
                f"Python finds {', '.join(places) or 'nothing'} in the place of {ROOT / name}, which it hides: rename "
                "it, or call maml-bench from another folder"
            )


def explain_hidden(error: Exception, file: Path) -> str:
    """Explain an import that failed since one of our packages hides one near a user's file; empty for other errors."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if name in PACKAGES and any((folder / name).is_dir() for folder in (file.parent, file.parent.parent)):
        return f"; your package {name} is hidden by maml-bench's own of that name: rename yours"
    return ""
