#!/usr/bin/env python3
"""A GPT training loop, the program that warpscope is measured with.

    train_gpt.py gpu STEPS      12 layers, batch 8 x 1024 tokens: the GPU is the bottleneck
    train_gpt.py launch STEPS   the same model, 1 x 64 tokens: launching kernels is the bottleneck

Random weights and data from one seed, no downloads, so that two runs launch the same kernels. Prints one
JSON line: median, p10 and p90 of a step in milliseconds, and the loss after the last step.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY = 50304


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a layer norm and around a residual."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """A decoder-only transformer that returns its loss."""

    def __init__(self, layers, heads, width, tokens):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, inputs, targets):
        x = self.embedding(inputs) + self.position(torch.arange(inputs.shape[1], device=inputs.device))
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, VOCABULARY), targets.view(-1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("gpu", "launch"))
    parser.add_argument("steps", type=int)
    parser.add_argument("--warmup", type=int, default=10, help="steps before the timed ones")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, help="sequences a step, instead of the mode's")
    parser.add_argument("--nvtx", action="store_true", help="mark steps and their phases with NVTX ranges")
    parser.add_argument("--graph", action="store_true", help="record the step as a CUDA graph and replay it")
    parser.add_argument("--stamps", metavar="FILE", help="write when each timed step began, ns since 1970, and how long it took, ns")
    parser.add_argument("--pause", type=float, default=0, help="seconds to sleep at the end, before leaving")
    return parser.parse_args()


def main():
    args = arguments()
    torch.manual_seed(0)
    batch, tokens = (8, 1024) if args.mode == "gpu" else (1, 64)
    batch = args.batch or batch
    model = GPT(args.layers, heads=12, width=768, tokens=tokens).cuda()
    gpu_bound = args.mode == "gpu"
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, foreach=not gpu_bound, fused=gpu_bound, capturable=args.graph
    )
    inputs = torch.randint(0, VOCABULARY, (batch, tokens), device="cuda")
    targets = torch.randint(0, VOCABULARY, (batch, tokens), device="cuda")
    mark = torch.cuda.nvtx.range if args.nvtx else lambda _: contextlib.nullcontext()

    def step():
        with mark("forward"), torch.autocast("cuda", torch.bfloat16):
            loss = model(inputs, targets)
        with mark("backward"):
            loss.backward()
        with mark("optimizer"):
            optimizer.step()
            optimizer.zero_grad(set_to_none=not args.graph)
        return loss

    if args.graph:
        # Warm up on a side stream, as torch asks before a capture.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(args.warmup):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = step()

        def one():
            graph.replay()
            return loss
    else:
        one = step
        for _ in range(args.warmup):
            loss = one()
    torch.cuda.synchronize()

    times, stamps = [], []
    for index in range(args.steps):
        stamps.append(time.time_ns())
        begin = time.perf_counter()
        with mark(f"step {index}"):
            loss = one()
            torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1e3)

    result = {"mode": args.mode, "steps": args.steps, "warmup": args.warmup, "loss": float(loss.detach())}
    unsorted = list(times)
    if times:
        times.sort()
        result["median_ms"] = round(statistics.median(times), 3)
        result["p10_ms"] = round(times[len(times) // 10], 3)
        result["p90_ms"] = round(times[len(times) * 9 // 10], 3)
    if args.stamps:
        with open(args.stamps, "w", encoding="utf-8") as file:
            json.dump([[stamp, round(took * 1e6)] for stamp, took in zip(stamps, unsorted)], file)
    print(json.dumps(result), flush=True)
    time.sleep(args.pause)


if __name__ == "__main__":
    sys.exit(main())
