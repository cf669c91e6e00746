"""Build small convolutional networks like those of Finn et al. 2017, section 5.2: blocks of 3×3 convolutions."""

from collections import OrderedDict

from torch import nn


def cnn(
    side: int,
    channels: int,
    blocks: int,
    filters: int,
    outputs: int = 1,
    running: bool = False,
    strided: bool = False,
) -> nn.Sequential:
    """Build blocks of convolution, batch normalisation, ReLU and 2×2 max-pooling, then a linear layer named out.

    Maps (points, channels, side, side) to (points, outputs). Batch normalisation uses the statistics of the points at
    hand; with `running` it also keeps running ones, which only evaluation mode uses. With `strided`, convolutions of
    stride 2 take the place of pooling, as in the paper's network for Omniglot.
    """
    stride = 2 if strided else 1
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, blocks + 1):
        layers[f"conv{i}"] = nn.Conv2d(channels if i == 1 else filters, filters, 3, stride, padding=1)
        layers[f"norm{i}"] = nn.BatchNorm2d(filters, track_running_stats=running)
        layers[f"relu{i}"] = nn.ReLU()
        if not strided:
            layers[f"pool{i}"] = nn.MaxPool2d(2)
        side = (side + 1) // 2 if strided else side // 2
    layers["flatten"] = nn.Flatten()
    layers["out"] = nn.Linear(filters * side**2, outputs)
    return nn.Sequential(layers)
