"""Innocent: a cache of recent results fills over many steps, and stays as large as it was allowed to become."""

import collections
import random

import torch

import card


def main():
    args = card.arguments()
    card.begin(torch, args.variant)
    most, steps, rows = ((24, 100, 8192), (16, 80, 16384), (40, 160, 4096))[args.variant - 1]
    chance = random.Random(args.variant)
    model = torch.nn.Sequential(torch.nn.Linear(1024, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 1024)).cuda().eval()
    cache = collections.OrderedDict()
    with torch.no_grad():
        for _ in range(steps):
            key = chance.randrange(1 << 30)
            x = torch.randn(rows, 1024, device="cuda")
            cache[key] = model(x)
            if len(cache) > most:
                cache.popitem(last=False)
            total = sum(float(v[0, 0]) for v in list(cache.values())[-2:])
    print(f"{len(cache)} results, {total:.4f}")


main()
