"""LASS in PyTorch as anyone would write it, on networks with the weights of ours."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Network(nn.Module):
    """The MLP or the CNN that a tree of our parameters describes, in inference mode."""

    def __init__(self, variables: Any) -> None:
        super().__init__()
        layers, stats = variables["params"], variables.get("batch_stats", {})
        names = sorted(layers, key=lambda name: (name.startswith("Dense"), int(name.rsplit("_", 1)[1])))
        self.convolutions = nn.ModuleList(_convolution(layers[n]) for n in names if n.startswith("Conv"))
        self.denses = nn.ModuleList(_dense(layers[n]) for n in names if n.startswith("Dense"))
        norms = sorted(stats, key=lambda name: int(name.rsplit("_", 1)[1]))
        self.norms = nn.ModuleList(
            _norm(layers[n], stats[n], flat=i >= len(self.convolutions)) for i, n in enumerate(norms)
        )
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch (n, features) or (n, channels, height, width)."""
        norms = list(self.norms) or [nn.Identity()] * len(self.denses)
        if len(self.convolutions):
            x = x[:, :, 2:-2, 2:-2]
        for convolution, norm in zip(self.convolutions, norms, strict=False):
            x = functional.max_pool2d(functional.relu(norm(convolution(x))), 3)
        if len(self.convolutions):
            x = x.permute(0, 2, 3, 1).flatten(1)
        for dense, norm in zip(self.denses[:-1], norms[len(self.convolutions) :], strict=False):
            x = functional.relu(norm(dense(x)))
        return self.denses[-1](x)


def network(variables: Any) -> Network:
    """The PyTorch twin of a model's parameters."""
    return Network(variables)


def loop(model: Network, x: Any, radius: float, iterations: int, batch_size: int) -> float:
    """The critical sample ratio: per iteration a gradient, a noisy step, a clip, and another prediction."""
    data = torch.from_numpy(np.array(x))
    if data.ndim == 4:
        data = data.permute(0, 3, 1, 2).contiguous()
    scale, found = radius / 0.3, 0
    for clean in data.split(batch_size):
        with torch.no_grad():
            own = model(clean).argmax(1)
        critical, points = torch.zeros(len(clean), dtype=torch.bool), clean.clone()
        for _ in range(iterations):
            points.requires_grad_()
            (gradient,) = torch.autograd.grad(functional.cross_entropy(model(points), own, reduction="sum"), points)
            with torch.no_grad():
                step = 0.25 * gradient.sign() + 0.2 * torch.randn_like(points)
                points = torch.clamp(points + scale * step, clean - radius, clean + radius)
                critical |= model(points).argmax(1) != own
        found += int(critical.sum())
    return found / len(data)


def _tensor(values: Any) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(values)))


def _dense(layer: Any) -> nn.Linear:
    made = nn.Linear(*layer["kernel"].shape, bias="bias" in layer)
    made.weight = _tensor(np.asarray(layer["kernel"]).T)
    if "bias" in layer:
        made.bias = _tensor(layer["bias"])
    return made


def _convolution(layer: Any) -> nn.Conv2d:
    rows, columns, inputs, outputs = layer["kernel"].shape
    made = nn.Conv2d(inputs, outputs, (rows, columns), bias=False)
    made.weight = _tensor(np.asarray(layer["kernel"]).transpose(3, 2, 0, 1))
    return made


def _norm(layer: Any, stats: Any, *, flat: bool) -> nn.Module:
    made = (nn.BatchNorm1d if flat else nn.BatchNorm2d)(len(stats["mean"]), eps=1e-5)
    made.weight, made.bias = _tensor(layer["scale"]), _tensor(layer["bias"])
    made.running_mean, made.running_var = (torch.from_numpy(np.array(stats[name])) for name in ("mean", "var"))
    return made
