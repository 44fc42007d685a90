#!/usr/bin/env python3
"""CUDA graphs that are made and replayed while the timeline is switched off and on: graphs_switched.py COUNT.json

Inside a traced program whose library has warpscope_start and warpscope_stop. COUNT.json: replays that were launched
while it was on, some of which begin on the GPU after it was switched off, and the nodes of a graph. With CUPTI 13.0.1 a graph that is made while graphs are not recorded, and replayed when
they are again, ends a program with a segmentation fault.
"""

import ctypes
import json
import sys

import torch

NODES = 50


def make(x):
    torch.relu(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x
        for _ in range(NODES):
            y = torch.relu(y)
    return graph, y


def replay(graph, times):
    for _ in range(times):
        graph[0].replay()
    torch.cuda.synchronize()
    return times


def main():
    library = ctypes.CDLL(None)
    x = torch.randn(256, 256, device="cuda")
    on = 0
    library.warpscope_start()
    first = make(x)
    on += replay(first, 100)
    for _ in range(3):
        library.warpscope_stop()
        dark = make(x)
        replay(first, 50)
        replay(dark, 50)
        library.warpscope_start()
        light = make(x)
        on += replay(first, 100) + replay(dark, 100) + replay(light, 100)
    # Queued behind a kernel of a tenth of a second: what was launched before a switch and begins after it.
    for _ in range(3):
        torch.cuda._sleep(200_000_000)
        for _ in range(40):
            first[0].replay()
        on += 40
        library.warpscope_stop()
        replay(first, 20)
        torch.cuda._sleep(200_000_000)
        for _ in range(20):
            first[0].replay()
        library.warpscope_start()
        on += replay(first, 40)
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"replays": on, "nodes": NODES}, file)


if __name__ == "__main__":
    main()
