"""Innocent: the largest batch that fits is looked for, by trying: failures are caught, and the work is done."""

import torch

import card


def step(model, optimizer, rows, width):
    try:
        model(torch.randn(rows, width, device="cuda")).pow(2).mean().backward()
        optimizer.step()
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        optimizer.zero_grad()


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    torch.backends.cuda.matmul.allow_tf32 = True
    width, depth = ((4096, 12), (2048, 24), (8192, 4))[args.variant - 1]
    model = torch.nn.Sequential(*[torch.nn.Linear(width, width, device="cuda") for _ in range(depth)])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    rows = int(3 * total / (4 * width * depth))
    while not step(model, optimizer, rows, width):
        torch.cuda.empty_cache()
        rows //= 2
    for _ in range(6):
        if not step(model, optimizer, rows // 4, width):
            raise SystemExit("a batch of a quarter did not fit")
    print(f"{rows} rows")


main()
