"""Figures that papers publish, each with where it stands and how sure we are of it: `figures.csv`.

This folder holds the only numbers of the project that were typed in by hand.
"""

import csv
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parent / "figures.csv"
CERTAINTIES = ("confirmed", "second-hand", "read off a figure")


class Figure(NamedTuple):
    """One published number.

    half_width: of its 95 % interval, as published; None where none is given.
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
    """All of them; raises ValueError for a line that cannot be read."""
    found = []
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
            found.append(figure)
    return found


def find(protocol: str, method: str, train_shots: int, test_shots: int, steps: int) -> Figure | None:
    """The published number of one setting; None where there is none."""
    wanted = (protocol, method, train_shots, test_shots, steps)
    return next((figure for figure in figures() if figure[:5] == wanted), None)
