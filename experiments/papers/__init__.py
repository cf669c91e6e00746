"""Look up numbers that papers publish, in `figures.csv`, each with its source and how certain it is.

They are the only numbers of the project that were typed in by hand.
"""

import csv
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parent / "figures.csv"
CERTAINTIES = ("confirmed", "second-hand", "read off a figure")


class Figure(NamedTuple):
    """One published number, and the protocol, method, shots and gradient steps that it is of.

    half_width: of its 95 % interval, None where none is published; source: the place in the paper; certainty: one of
    CERTAINTIES.
    """

    protocol: str
    method: str
    train_shots: int
    test_shots: int
    steps: int
    value: float
    half_width: float | None
    source: str
    certainty: str


def figures() -> list[Figure]:
    """Read all published numbers; raises ValueError for a line with an unknown certainty."""
    rows = []
    with FILE.open(newline="") as file:
        for line in csv.DictReader(file):
            figure = Figure(
                line["protocol"],
                line["method"],
                int(line["train_shots"]),
                int(line["test_shots"]),
                int(line["steps"]),
                float(line["value"]),
                float(line["half_width"]) if line["half_width"] else None,
                line["source"],
                line["certainty"],
            )
            if figure.certainty not in CERTAINTIES:
                raise ValueError(f"figures.csv: {figure.certainty} is none of {', '.join(CERTAINTIES)}")
            rows.append(figure)
    return rows


def find(protocol: str, method: str, train_shots: int, test_shots: int, steps: int) -> Figure | None:
    """Return the published number for this protocol, method, shots and gradient steps; None where there is none."""
    key = (protocol, method, train_shots, test_shots, steps)
    return next((figure for figure in figures() if figure[:5] == key), None)
