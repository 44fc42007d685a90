#!/usr/bin/env python3
"""PyTorch programs of which it is known what Python does.

    python_known.py hog       another thread keeps the GIL from the one that launches
    python_known.py profiled  runs torch.profiler where warpscope would record a step, and prints what it saw
    python_known.py forward   no optimizer: a model's forward pass, again and again, for 12 s

Prints one JSON line.
"""

import json
import sys
import threading
import time

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(512, 2048)
        self.down = nn.Linear(2048, 512)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(12))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def main(mode):
    model, inputs = Net().cuda(), torch.randn(64, 512, device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    result = {"mode": mode}

    def step():
        model(inputs).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    if mode == "hog":
        stop = threading.Event()

        def hog():
            while not stop.is_set():
                sum(i * i for i in range(2000))

        thread = threading.Thread(target=hog)
        for _ in range(5):
            step()
        thread.start()
        for _ in range(40):
            step()
            torch.cuda.synchronize()
        stop.set()
        thread.join()
    elif mode == "profiled":
        for _ in range(5):
            step()
        result["recording"] = torch.autograd._profiler_enabled()  # warpscope's recorder: the sixth step is sampled
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            for _ in range(10):
                step()
            torch.cuda.synchronize()
        result["addmm"] = sum(e.count for e in profile.key_averages() if e.key == "aten::addmm")
        result["kernels"] = sum(1 for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA)
    else:
        model.eval()
        end, calls = time.time() + 12, 0
        with torch.inference_mode():
            while time.time() < end:
                model(inputs).sum().item()
                calls += 1
                time.sleep(0.002)
        result["calls"] = calls
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
