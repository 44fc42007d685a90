#!/usr/bin/env python3
"""Values read from the GPU within a step: each time, the GPU runs out of work.

Variant 1 logs statistics of each layer's output, 2 clips gradients with the norm of one parameter after the other, 3 asks
for each expert of a mixture which rows are its own. --fixed keeps the values on the GPU.
"""

import frame


def statistics(x):
    x = x.detach()
    return x.mean(), x.std(), x.abs().max(), x.norm()


class Log:
    """What a hook on each layer writes down."""

    def __init__(self, fixed):
        self.fixed = fixed
        self.lines = []

    def __call__(self, _module, _inputs, output):
        values = statistics(output)
        if self.fixed:
            self.lines.append(values)  # tensors: read when somebody looks at them
        else:
            self.lines.append(["%.4g" % value.item() for value in values])  # guilty
        del self.lines[:-50]


def clip(parameters, fixed, most=1.0):
    import torch

    if fixed:
        torch.nn.utils.clip_grad_norm_(parameters, most, foreach=True)
        return
    total = 0.0
    for parameter in parameters:
        total += parameter.grad.norm().item() ** 2  # guilty
    if total > most * most:
        torch._foreach_mul_([parameter.grad for parameter in parameters], most / total**0.5)


def mixture(fixed):
    """A network of layers with experts, each of which sees its own rows."""
    import torch
    from torch import nn

    width, experts, rows = 2048, 8, 65536

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.router = nn.Linear(width, experts)
            self.up = nn.Parameter(torch.randn(experts, width, 2 * width) * 0.02)
            self.down = nn.Parameter(torch.randn(experts, 2 * width, width) * 0.02)

        def forward(self, x):
            choice = self.router(x).argmax(-1)
            if fixed:  # as many rows for each expert, whoever they are: nobody has to ask
                order = choice.argsort()
                hidden = torch.relu(x[order].view(experts, rows // experts, width) @ self.up)
                return x.index_add(0, order, (hidden @ self.down).view(rows, width))
            result = x
            for expert in range(experts):
                own = (choice == expert).nonzero().squeeze(1)  # guilty
                hidden = torch.relu(x[own] @ self.up[expert])
                result = result.index_add(0, own, hidden @ self.down[expert])
            return result

    model = nn.Sequential(*(Experts() for _ in range(6))).cuda().bfloat16().requires_grad_(False)
    x = torch.randn(rows, width, device="cuda", dtype=torch.bfloat16)
    return lambda: model(x).amax()


def build(variant, fixed):
    import torch

    import models

    if variant == 3:
        return mixture(fixed)
    layers, width = ((6, 2048), (8, 1536))[variant - 1]
    model = models.GPT(layers, heads=width // 128, width=width, tokens=512, vocabulary=8192).cuda().bfloat16()
    optimizer, batch = models.trainer(model), models.tokens(16, 512, 8192)
    if variant == 1:
        log = Log(fixed)
        for layer in model.blocks.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.register_forward_hook(log)
        return models.training(model, batch, optimizer)
    parameters = list(model.parameters())

    def step():
        model(batch).backward()
        clip(parameters, fixed)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
