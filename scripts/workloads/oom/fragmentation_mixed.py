"""A small result is kept of each document, inside the memory of its large scratch buffer: most of the card is free, and
no piece of it is large enough. --stop N ends after N documents; with expandable segments there is room for all of them."""

import random

import torch

import card

MIB = 1 << 20


def main():
    args = card.arguments(("--stop", int, 0))
    card.begin(torch, args.variant)
    chance = random.Random(args.variant)
    features = []
    done = 0
    try:
        while not args.stop or done < args.stop:
            if args.variant == 1:
                large, small = 1024, 32
            elif args.variant == 2:  # longer and longer documents
                large, small = 600 + 8 * done, 24
            else:
                large, small = chance.randrange(900, 1100) + 6 * done, chance.randrange(8, 40)
            done += 1
            scratch = torch.empty(large * MIB, dtype=torch.uint8, device="cuda")  # guilty
            del scratch
            features.append(torch.empty(small * MIB, dtype=torch.uint8, device="cuda"))
    finally:
        card.measure("documents", done)
        card.measure("reserved", torch.cuda.max_memory_reserved())


main()
