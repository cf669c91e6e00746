"""Define what is shown of a cell, and what implementations compute, in words."""

from dataclasses import dataclass, fields

from analysis.store.age import Sources, age
from experiments.harness import records
from experiments.harness.records import StoredCell

COMPUTES = {  # in words, in the order in which they are shown
    "maml": "second order",
    "fomaml": "first order",
    "reptile": "Reptile",
    "pretraining": "pre-training",
}
MISUSES = "baselines/misuse/"  # files of common mistakes that are not MAML


@dataclass(frozen=True, kw_only=True)
class Cell(records.Cell):
    """One implementation's result in one case, without what only resuming needs: a large store has many thousands.

    file: its name relative to the results folder. misuse: whether the implementation is one of the known misuses of a
    library, by the sources that were measured. age: how the sources differ from today's, empty if they do not.
    """

    file: str
    misuse: bool
    age: str


_SHARED = tuple(field.name for field in fields(records.Cell))


def shown(stored: StoredCell, file: str, now: Sources) -> Cell:
    """Return what is shown of a cell; of one that is not ok no measurement is, whatever its file holds.

    now: today's sources, empty if they are unknown.
    """
    every = vars(stored)
    shared = {name: every[name] for name in _SHARED}
    if not stored.ok:
        shared |= {"samples": {}, "observations": {}, "series": {}}
    implementation = stored.implementation
    misuse = f"{MISUSES}{implementation.replace('-', '_')}.py" in stored.sources
    return Cell(**shared, file=file, misuse=misuse, age=age(stored.sources, implementation, now))


def computes_order(computes: str) -> tuple[int, str]:
    """Return a sort key for what implementations compute: second order first, unknown kinds last."""
    return ([*COMPUTES, computes].index(computes), computes)
