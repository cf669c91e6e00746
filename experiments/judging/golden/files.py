"""Read and write golden cases as JSON, with numbers as hexadecimal floats, exact to the last bit.

An array is nested lists down to its last axis, which is one line of text, so that files stay small and a change shows
as few lines.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.records import Parameters
from experiments.judging.oracles.described import Weights
from experiments.problems.tasks.draws import Floats
from experiments.problems.tasks.stream import Arrays

FOLDER = Path(__file__).resolve().parents[3] / "results" / "golden"
FORMAT = 1


@dataclass(frozen=True)
class Golden:
    """A golden case: weights and points that float32 holds exactly, and the ground truth for them.

    lr: α; curvature: α·λ_max, for information.
    kappa: {computes: {dtype: κ}}; meta_gradients: {computes: …}, only of the kinds that can be judged.
    """

    name: str
    description: Parameters
    steps: int
    lr: float
    curvature: float
    kappa: dict[str, dict[str, float]]
    weights: Weights
    batch: Arrays
    meta_gradients: dict[str, Weights]

    def text(self) -> str:
        """Return the content of the case's file."""
        content = {
            "format": FORMAT,
            "description": self.description,
            "steps": self.steps,
            "lr": self.lr.hex(),
            "curvature": self.curvature,
            "kappa": self.kappa,
            "weights": {name: _encode(value) for name, value in self.weights.items()},
            "batch": {name: _encode(value) for name, value in self.batch._asdict().items()},
            "meta_gradients": {
                kind: {name: _encode(value) for name, value in meta_gradient.items()}
                for kind, meta_gradient in self.meta_gradients.items()
            },
        }
        return json.dumps(content, indent=1) + "\n"


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all cases that have a file, in alphabetical order."""
    return sorted(file.stem for file in folder.glob("*.json"))


def read(name: str, folder: Path = FOLDER) -> Golden:
    """Read one case; raises OSError, ValueError or KeyError where its file is missing or damaged."""
    content = json.loads((folder / f"{name}.json").read_text())
    if content["format"] != FORMAT:
        raise ValueError(f"{name}.json has format {content['format']}, not {FORMAT}")
    return Golden(
        name,
        Parameters(content["description"]),
        content["steps"],
        float.fromhex(content["lr"]),
        content["curvature"],
        content["kappa"],
        {key: _decode(value) for key, value in content["weights"].items()},
        Arrays(**{key: _decode(value) for key, value in content["batch"].items()}),
        {k: {key: _decode(value) for key, value in grads.items()} for k, grads in content["meta_gradients"].items()},
    )


def _encode(array: Floats) -> Any:
    return [_encode(part) for part in array] if array.ndim > 1 else " ".join(float(value).hex() for value in array)


def _decode(value: Any) -> Floats:
    if isinstance(value, str):
        return np.array([float.fromhex(word) for word in value.split()])
    return np.array([_decode(part) for part in value])
