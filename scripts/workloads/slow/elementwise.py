#!/usr/bin/env python3
"""Formulas written operation by operation: each passes over all the data once more.

Variant 1 is a GPT with its activation and norm written by hand, 2 prices options, 3 is an optimizer written by hand.
--fixed uses PyTorch's fused operations, and in variant 2 its compiler.
"""

import frame


def build(variant, fixed):
    import torch
    from torch import nn
    from torch.nn import functional as F

    import models

    if variant == 1:

        def gelu(x):
            return 0.5 * x * (1.0 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))  # guilty

        class Norm(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(width))

            def forward(self, x):
                x32 = x.float()
                return (x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * self.weight  # guilty

        block = {"activation": lambda x: F.gelu(x, approximate="tanh"), "norm": nn.RMSNorm} if fixed else {"activation": gelu, "norm": Norm}
        model = models.GPT(4, heads=8, width=1024, tokens=1024, vocabulary=4096, **block).cuda().bfloat16()
        return models.training(model, models.tokens(16, 1024, 4096), models.trainer(model))
    if variant == 2:
        spot, strike, time = (torch.rand(64 << 20, device="cuda") + 0.5 for _ in range(3))

        def price(spot, strike, time):
            spread = 0.3 * time.sqrt()
            d1 = (torch.log(spot / strike) + (0.02 + 0.045) * time) / spread  # guilty
            d2 = d1 - spread
            call = spot * 0.5 * (1 + torch.erf(d1 / 1.41421356)) - strike * torch.exp(-0.02 * time) * 0.5 * (1 + torch.erf(d2 / 1.41421356))  # guilty
            return call.clamp_min(0)

        price = torch.compile(price) if fixed else price
        return lambda: price(spot, strike, time)
    model = models.GPT(2, heads=48, width=6144, tokens=256, vocabulary=8192).cuda().bfloat16()
    batch = models.tokens(4, 256, 8192)
    if fixed:
        return models.training(model, batch, models.trainer(model))
    parameters = list(model.parameters())
    means, squares = [torch.zeros_like(p) for p in parameters], [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def update():
        for p, m, v in zip(parameters, means, squares):
            m.mul_(0.9).add_(p.grad * 0.1)  # guilty
            v.mul_(0.999).add_(p.grad * p.grad * 0.001)  # guilty
            p.sub_(m / (v.sqrt() + 1e-8) * 1e-4 + p * 1e-6)  # guilty
            p.grad = None

    def step():
        model(batch).backward()
        update()

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
