"""The same epoch in PyTorch: the obvious loop over seeds, and all seeds at once through ``torch.func.vmap``."""

import time

import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.sweep import BATCH, CLASSES, EXAMPLES, INPUTS, RATE, STEPS

torch.manual_seed(0)
DATA = torch.randn(EXAMPLES, INPUTS)
LABELS = torch.randint(0, CLASSES, (EXAMPLES,))


def network(width: int) -> nn.Module:
    """Two hidden ReLU layers."""
    return nn.Sequential(
        nn.Linear(INPUTS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES)
    )


def loop(width: int, seeds: int) -> float:
    """Seconds per seed of one network after another, as anyone would write it."""
    started = time.perf_counter()
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = network(width)
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        order = torch.randperm(EXAMPLES)
        for step in range(STEPS):
            rows = order[step * BATCH : (step + 1) * BATCH]
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(DATA[rows]), LABELS[rows]).backward()
            optimizer.step()
    return (time.perf_counter() - started) / seeds


def vmapped(width: int, seeds: int) -> float:
    """Seconds per seed of all networks stacked, their gradients from one vmapped call a step."""
    started = time.perf_counter()
    models = [network(width) for _ in range(seeds)]
    stacked, _ = stack_module_state(models)
    parameters = {name: value.detach() for name, value in stacked.items()}
    orders = torch.stack([torch.randperm(EXAMPLES) for _ in range(seeds)])

    def loss(parameters: dict, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(models[0], parameters, (inputs,)), labels)

    gradients = vmap(grad(loss))
    for step in range(STEPS):
        rows = orders[:, step * BATCH : (step + 1) * BATCH]
        found = gradients(parameters, DATA[rows], LABELS[rows])
        parameters = {name: value.sub_(found[name], alpha=RATE) for name, value in parameters.items()}
    return (time.perf_counter() - started) / seeds
