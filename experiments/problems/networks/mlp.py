"""Build multilayer perceptrons, such as 1 → 40 → 40 → 1 of the tutorial notebook and Finn et al. 2017, section 5.1."""

from collections import OrderedDict

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def mlp(inputs: int, hidden: int, width: int, activation: str, outputs: int = 1) -> nn.Sequential:
    """Build `hidden` layers of `width` units named hidden1, hidden2, …, and a linear layer named out.

    activation: "relu" or "tanh". Maps (points, inputs) to (points, outputs). With no hidden layer it is linear
    regression.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, hidden + 1):
        layers[f"hidden{i}"] = nn.Linear(inputs if i == 1 else width, width)
        layers[f"{activation}{i}"] = ACTIVATIONS[activation]()
    layers["out"] = nn.Linear(width if hidden else inputs, outputs)
    return nn.Sequential(layers)
