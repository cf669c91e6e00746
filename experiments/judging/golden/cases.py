"""List the golden cases: every network with a few inner loops, and a few networks with every inner loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.judging.oracles.described import Description
from experiments.judging.oracles.sweep import Computes

LINEAR: Description = {"inputs": 3, "hidden": 0, "width": 0, "activation": "relu"}
RELU1: Description = {"inputs": 1, "hidden": 1, "width": 8, "activation": "relu"}
RELU2: Description = RELU1 | {"hidden": 2}
TANH1: Description = RELU1 | {"activation": "tanh"}
TANH2: Description = TANH1 | {"hidden": 2}
CNN: Description = {"side": 8, "channels": 1, "blocks": 2, "filters": 4}

RUNNING = CNN | {"running": True}
HUBER = TANH2 | {"loss": "pseudo-huber"}
TIED = TANH2 | {"hidden": 3, "tied": {"hidden3.weight": "hidden2.weight"}}
FROZEN = TANH2 | {"frozen": ["hidden1.weight", "hidden2.bias"]}
FROZEN_CNN = CNN | {"frozen": ["conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias"]}
UNUSED = RELU2 | {"unused": {"spare": [5]}}

APART = {"hidden1.weight": 1e-3, "hidden1.bias": 1e-3, "out.weight": 1e3}
ALL: tuple[Computes, ...] = ("maml", "fomaml", "reptile", "pretraining")
NO_REPTILE: tuple[Computes, ...] = (
    "maml",
    "fomaml",
    "pretraining",
)  # large weights that hardly move: θ − φ_K is lost in rounding


@dataclass(frozen=True)
class Case:
    """One golden case before anything is computed: network, inner loop, sizes and seed.

    lr: the inner learning rate α; curvature: in its place, the value of α·λ_max, where λ_max is the largest eigenvalue
        over tasks of the support loss' Hessian at θ.
    scale: factors on single parameters' initial weights.
    computes: the kinds of result that can be judged.
    seed: of the draws; not 0 where a unit would lie too near to its kink.
    """

    name: str
    description: Description
    steps: int
    lr: float = 0.1
    curvature: float | None = None
    tasks: int = 4
    shots: int = 5
    queries: int = 7
    scale: Mapping[str, float] = field(default_factory=dict)
    computes: tuple[Computes, ...] = ALL
    seed: int = 0

    @property
    def family(self) -> str:
        """Return the name of the task family whose points the network takes."""
        if "side" in self.description:
            return "images"
        return {1: "sinusoid", 3: "linear"}[self.description["inputs"]]


CASES = (
    Case("linear-k0", LINEAR, 0),
    Case("linear-k1", LINEAR, 1, shots=5, queries=5),
    Case("linear-k2", LINEAR, 2, shots=10, queries=3),
    Case("linear-k3", LINEAR, 3),
    Case("linear-k5", LINEAR, 5),
    Case("linear-k10", LINEAR, 10),
    Case("linear-k3-lr0", LINEAR, 3, lr=0.0),
    Case("linear-k3-large-lr", LINEAR, 3, curvature=1.9),
    Case("linear-k5-one-task", LINEAR, 5, tasks=1),
    Case("relu1-k1", RELU1, 1, shots=1, queries=10),
    Case("relu1-k5", RELU1, 5),
    Case("relu2-k1", RELU2, 1, shots=5, queries=5),
    Case("relu2-k2", RELU2, 2),
    Case("relu2-k5", RELU2, 5),
    Case("relu2-k10", RELU2, 10, tasks=2),
    Case("relu2-k3-lr0", RELU2, 3, lr=0.0),
    Case("relu2-k3-large-lr", RELU2, 3, curvature=1.6, tasks=2),
    Case("relu2-k1-many-tasks", RELU2, 1, tasks=25),
    Case("tanh1-k1", TANH1, 1),
    Case("tanh1-k3", TANH1, 3, shots=10, queries=4),
    Case("tanh2-k0", TANH2, 0),
    Case("tanh2-k1", TANH2, 1),
    Case("tanh2-k2", TANH2, 2, shots=1, queries=10),
    Case("tanh2-k3", TANH2, 3),
    Case("tanh2-k5", TANH2, 5, shots=10, queries=10),
    Case("tanh2-k10", TANH2, 10),
    Case("tanh2-k2-lr0", TANH2, 2, lr=0.0),
    Case("tanh2-k1-large-lr", TANH2, 1, curvature=1.9),
    Case("tanh2-k5-large-lr", TANH2, 5, curvature=1.5),
    Case("tanh2-k3-one-task", TANH2, 3, tasks=1),
    Case("tanh2-k2-many-tasks", TANH2, 2, tasks=25),
    Case("huber-k3", HUBER, 3, lr=0.3),
    Case("cnn-k0", CNN, 0, lr=0.01, tasks=2, shots=3, queries=4),
    Case("cnn-k1", CNN, 1, lr=0.01, tasks=3, shots=3, queries=4),
    Case("cnn-k3", CNN, 3, lr=0.01, tasks=2, shots=3, queries=5),
    Case("cnn-k5-one-task", CNN, 5, lr=0.01, tasks=1, shots=4, queries=6),
    Case("cnn-k1-large-lr", CNN, 1, curvature=1.5, tasks=2, shots=5, queries=3),
    Case("running-k1", RUNNING, 1, lr=0.01, tasks=2, shots=3, queries=4),
    Case("running-k3", RUNNING, 3, lr=0.01, tasks=2, shots=5, queries=3),
    Case("tied-k1", TIED, 1),
    Case("tied-k3", TIED, 3, shots=4, queries=9),
    Case("tied-k5-large-lr", TIED, 5, curvature=1.7),
    Case("frozen-k1", FROZEN, 1),
    Case("frozen-k3", FROZEN, 3),
    Case("frozen-cnn-k1", FROZEN_CNN, 1, lr=0.01, tasks=2, shots=3, queries=4),
    Case("unused-k0", UNUSED, 0),
    Case("unused-k1", UNUSED, 1),
    Case("unused-k3", UNUSED, 3),
    Case("apart-tanh2-k1", TANH2, 1, curvature=0.5, scale=APART, computes=NO_REPTILE),
    Case("apart-tanh2-k3", TANH2, 3, curvature=0.5, scale=APART, computes=NO_REPTILE),
    Case("apart-relu2-k5", RELU2, 5, curvature=1.5, scale=APART, computes=NO_REPTILE),
)
