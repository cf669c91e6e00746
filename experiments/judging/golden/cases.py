"""List the golden cases: every network with a few inner loops, and a few networks with every inner loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.harness.records import Parameters
from experiments.judging.oracles.sweep import Computes

LINEAR = Parameters({"inputs": 3, "hidden": 0, "width": 0, "activation": "relu"})
RELU1 = Parameters({"inputs": 1, "hidden": 1, "width": 8, "activation": "relu"})
RELU2 = RELU1.extended(hidden=2)
TANH1 = RELU1.extended(activation="tanh")
TANH2 = TANH1.extended(hidden=2)
CNN = Parameters({"side": 8, "channels": 1, "blocks": 2, "filters": 4})

RUNNING = CNN.extended(running=True)
HUBER = TANH2.extended(loss="pseudo-huber")
TIED = TANH2.extended(hidden=3, tied={"hidden3.weight": "hidden2.weight"})
FROZEN = TANH2.extended(frozen=["hidden1.weight", "hidden2.bias"])
FROZEN_CNN = CNN.extended(frozen=["conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias"])
UNUSED = RELU2.extended(unused={"spare": [5]})

APART = {"hidden1.weight": 1e-3, "hidden1.bias": 1e-3, "out.weight": 1e3}
ALL: tuple[Computes, ...] = ("maml", "fomaml", "reptile", "pretraining")
NO_REPTILE: tuple[Computes, ...] = (
    "maml",
    "fomaml",
    "pretraining",
)  # large weights that hardly move: θ − φ_K is lost in rounding


@dataclass(frozen=True)
class GoldenCase:
    """One golden case before anything is computed: network, inner loop, sizes and seed.

    lr: the inner learning rate α; curvature: in its place, the value of α·λ_max, where λ_max is the largest eigenvalue
        over tasks of the support loss' Hessian at θ.
    scale: factors on single parameters' initial weights.
    computes: the kinds of result that can be judged.
    seed: of the draws; not 0 where a unit would lie too near to its kink.
    """

    name: str
    description: Parameters
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
        return {1: "sinusoid", 3: "linear"}[self.description.integer("inputs")]


CASES = (
    GoldenCase("linear-k0", LINEAR, 0),
    GoldenCase("linear-k1", LINEAR, 1, shots=5, queries=5),
    GoldenCase("linear-k2", LINEAR, 2, shots=10, queries=3),
    GoldenCase("linear-k3", LINEAR, 3),
    GoldenCase("linear-k5", LINEAR, 5),
    GoldenCase("linear-k10", LINEAR, 10),
    GoldenCase("linear-k3-lr0", LINEAR, 3, lr=0.0),
    GoldenCase("linear-k3-large-lr", LINEAR, 3, curvature=1.9),
    GoldenCase("linear-k5-one-task", LINEAR, 5, tasks=1),
    GoldenCase("relu1-k1", RELU1, 1, shots=1, queries=10),
    GoldenCase("relu1-k5", RELU1, 5),
    GoldenCase("relu2-k1", RELU2, 1, shots=5, queries=5),
    GoldenCase("relu2-k2", RELU2, 2),
    GoldenCase("relu2-k5", RELU2, 5),
    GoldenCase("relu2-k10", RELU2, 10, tasks=2),
    GoldenCase("relu2-k3-lr0", RELU2, 3, lr=0.0),
    GoldenCase("relu2-k3-large-lr", RELU2, 3, curvature=1.6, tasks=2),
    GoldenCase("relu2-k1-many-tasks", RELU2, 1, tasks=25),
    GoldenCase("tanh1-k1", TANH1, 1),
    GoldenCase("tanh1-k3", TANH1, 3, shots=10, queries=4),
    GoldenCase("tanh2-k0", TANH2, 0),
    GoldenCase("tanh2-k1", TANH2, 1),
    GoldenCase("tanh2-k2", TANH2, 2, shots=1, queries=10),
    GoldenCase("tanh2-k3", TANH2, 3),
    GoldenCase("tanh2-k5", TANH2, 5, shots=10, queries=10),
    GoldenCase("tanh2-k10", TANH2, 10),
    GoldenCase("tanh2-k2-lr0", TANH2, 2, lr=0.0),
    GoldenCase("tanh2-k1-large-lr", TANH2, 1, curvature=1.9),
    GoldenCase("tanh2-k5-large-lr", TANH2, 5, curvature=1.5),
    GoldenCase("tanh2-k3-one-task", TANH2, 3, tasks=1),
    GoldenCase("tanh2-k2-many-tasks", TANH2, 2, tasks=25),
    GoldenCase("huber-k3", HUBER, 3, lr=0.3),
    GoldenCase("cnn-k0", CNN, 0, lr=0.01, tasks=2, shots=3, queries=4),
    GoldenCase("cnn-k1", CNN, 1, lr=0.01, tasks=3, shots=3, queries=4),
    GoldenCase("cnn-k3", CNN, 3, lr=0.01, tasks=2, shots=3, queries=5),
    GoldenCase("cnn-k5-one-task", CNN, 5, lr=0.01, tasks=1, shots=4, queries=6),
    GoldenCase("cnn-k1-large-lr", CNN, 1, curvature=1.5, tasks=2, shots=5, queries=3),
    GoldenCase("running-k1", RUNNING, 1, lr=0.01, tasks=2, shots=3, queries=4),
    GoldenCase("running-k3", RUNNING, 3, lr=0.01, tasks=2, shots=5, queries=3),
    GoldenCase("tied-k1", TIED, 1),
    GoldenCase("tied-k3", TIED, 3, shots=4, queries=9),
    GoldenCase("tied-k5-large-lr", TIED, 5, curvature=1.7),
    GoldenCase("frozen-k1", FROZEN, 1),
    GoldenCase("frozen-k3", FROZEN, 3),
    GoldenCase("frozen-cnn-k1", FROZEN_CNN, 1, lr=0.01, tasks=2, shots=3, queries=4),
    GoldenCase("unused-k0", UNUSED, 0),
    GoldenCase("unused-k1", UNUSED, 1),
    GoldenCase("unused-k3", UNUSED, 3),
    GoldenCase("apart-tanh2-k1", TANH2, 1, curvature=0.5, scale=APART, computes=NO_REPTILE),
    GoldenCase("apart-tanh2-k3", TANH2, 3, curvature=0.5, scale=APART, computes=NO_REPTILE),
    GoldenCase("apart-relu2-k5", RELU2, 5, curvature=1.5, scale=APART, computes=NO_REPTILE),
)
