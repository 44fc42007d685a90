"""Innocent: memory grows in the first steps (optimizer state, workspaces, a table that is built once) and then stays."""

import torch

import card


def main():
    args = card.arguments()
    card.begin(torch, args.variant)
    width, rows, table = ((2048, 4096, 6), (1024, 8192, 4), (3072, 2048, 8))[args.variant - 1]
    model = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, width)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    tables = {}
    for step in range(60):
        if step < table:  # positions, masks, plans: one for each length that comes
            tables[step] = torch.randn(rows, width, device="cuda")
        x = torch.randn(rows, width, device="cuda") + tables[step % len(tables)]
        loss = model(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print(f"{loss.item():.4f}")


main()
