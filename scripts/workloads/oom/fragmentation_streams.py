"""Each stream keeps a little of the memory that it once used: the rest is free, in pieces that are large enough, and held
for other streams than the one that asks."""

import torch

import card


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    streams, share = ((12, 0.075), (6, 0.14), (20, 0.045))[args.variant - 1]
    size = int(share * total) // (1 << 21) << 21
    kept = []
    for _ in range(streams):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            batch = torch.zeros(size, dtype=torch.uint8, device="cuda")
            del batch
            kept.append((stream, torch.zeros(size // 40, dtype=torch.uint8, device="cuda")))
    torch.cuda.synchronize()
    while True:
        kept.append(torch.zeros(int(0.9 * size), dtype=torch.uint8, device="cuda"))  # guilty


main()
