"""Small results are kept, spread over memory in which large buffers were before: most of the card is free again, and no
piece of it is as large as a large buffer.

Three rounds, as a program makes them that first reads long documents, then short ones, then long ones again. With
expandable segments the last round finds room.
"""

import random

import torch

import card

MIB = 1 << 20


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    chance = random.Random(args.variant)
    least, most, small = ((1024, 1024, 32), (640, 640, 12), (700, 1100, 24))[args.variant - 1]
    sizes = []
    while sum(sizes) < 0.93 * total / MIB - most:
        sizes.append(chance.randrange(least, most + 1) // 2 * 2)
    long = [torch.empty(size * MIB, dtype=torch.uint8, device="cuda") for size in sizes]
    del long
    features, hidden = [], []
    for size in sorted(sizes):  # the smallest piece that fits is taken first
        features.append(torch.empty(small * MIB, dtype=torch.uint8, device="cuda"))
        hidden.append(torch.empty((size - small) * MIB, dtype=torch.uint8, device="cuda"))
    del hidden
    try:
        long = [torch.empty((most + 2) * MIB, dtype=torch.uint8, device="cuda") for _ in range(20)]  # guilty
        print(f"{len(long)} long documents, {len(features)} results")
    finally:
        card.measure("reserved", torch.cuda.max_memory_reserved())


main()
