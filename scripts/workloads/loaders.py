#!/usr/bin/env python3
"""Training fed by worker processes that are forked after CUDA was initialised and never execute another program.

    loaders.py STEPS
"""

import subprocess
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

BATCH = 32


class Numbers(Dataset):
    """Made in the workers."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.full((256,), float(index))


def main():
    torch.manual_seed(0)
    steps = int(sys.argv[1])
    model = nn.Linear(256, 256).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for epoch in range(2):  # workers end and are made again
        loader = DataLoader(Numbers(BATCH * steps), batch_size=BATCH, num_workers=3, pin_memory=True, multiprocessing_context="fork")
        for batch in loader:
            loss = model(batch.cuda(non_blocking=True)).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        subprocess.run(["true"], check=True)  # vfork or posix_spawn
    torch.cuda.synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
