"""The same steps in PyTorch, as anyone would write them: one restart after another, painted pictures in memory."""

import time

import torch
from torch import nn


def seconds_per_step(units: int, count: int, pixels: int, steps: int, weight: float = 1e4) -> float:
    """Seconds of one full-batch step of V-REx on two domains, with L2, division by the weight and Adam."""
    torch.manual_seed(0)
    labels = torch.randint(0, 2, (count, 1)).float()
    colours = torch.randint(0, 2, (count,))
    painted = torch.zeros(count, 2, pixels)
    painted[torch.arange(count), colours] = torch.relu(torch.randn(count, pixels) - 0.8)
    painted = painted.view(count, 2 * pixels)
    halves = [slice(0, count // 2), slice(count // 2, None)]
    network = nn.Sequential(
        nn.Linear(2 * pixels, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 1)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss = nn.functional.binary_cross_entropy_with_logits

    def step() -> None:
        risks = torch.stack([loss(network(painted[half]), labels[half]) for half in halves])
        squares = sum(parameter.square().sum() for parameter in network.parameters())
        total = risks.sum() + 1e-3 * squares + weight * (risks[0] - risks[1]) ** 2
        optimizer.zero_grad(set_to_none=True)
        (total / weight).backward()
        optimizer.step()

    step()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - started) / steps
