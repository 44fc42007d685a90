#!/usr/bin/env python3
"""Training of a small model under torch.compile, STEPS steps. Run it once beforehand: the first run compiles, and
measures variants of its kernels while it does.

    compiled.py STEPS
"""

import sys

import torch
from torch import nn


def main():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.LayerNorm(2048), nn.Linear(2048, 512)).cuda()
    step = torch.compile(lambda x, y: nn.functional.mse_loss(model(x), y))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, y = torch.ones(256, 512, device="cuda"), torch.zeros(256, 512, device="cuda")
    for _ in range(int(sys.argv[1])):
        step(x, y).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
