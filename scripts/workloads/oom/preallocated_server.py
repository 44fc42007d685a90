"""Innocent: a server takes nine tenths of the GPU when it starts, for its KV cache, and serves from that."""

import random

import torch

import card


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    share, batch, width = ((0.9, 64, 2048), (0.88, 256, 1024), (0.85, 16, 4096))[args.variant - 1]
    chance = random.Random(args.variant)
    model = torch.nn.Sequential(torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width)).cuda().bfloat16().eval()
    pages = int(share * total) // (16 * width * 2)
    kv_pages = torch.empty(pages, 16, width, dtype=torch.bfloat16, device="cuda")
    free = list(range(pages))
    running = []
    with torch.no_grad():
        x = torch.randn(batch, width, dtype=torch.bfloat16, device="cuda")
        for _ in range(300):
            y = model(x)
            while len(running) < batch:
                running.append([free.pop() for _ in range(chance.randrange(1, 8))])
            kv_pages[torch.tensor([r[-1] for r in running], device="cuda"), 0] = y
            x = torch.nn.functional.normalize(y, dim=-1)
            for done in [r for r in running if chance.random() < 0.1]:
                running.remove(done)
                free += done
    torch.cuda.synchronize()
    print(f"{pages} pages, {len(free)} free")


main()
