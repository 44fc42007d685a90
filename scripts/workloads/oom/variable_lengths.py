"""Innocent: batches of any length; memory goes up and down with them."""

import random

import torch

import card


def main():
    args = card.arguments()
    card.begin(torch, args.variant)
    width, depth, longest = ((1024, 4, 4096), (512, 6, 8192), (2048, 2, 2048))[args.variant - 1]
    chance = random.Random(args.variant)
    torch.backends.cuda.enable_cudnn_sdp(False)  # it builds kernels for each length, for a third of a second
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True) for _ in range(depth)
        )
    optimizer = torch.optim.AdamW(layers.parameters())
    for _ in range(40):
        x = torch.randn(4, chance.randrange(longest // 8, longest), width, device="cuda")
        for layer in layers:
            x = layer(x)
        loss = x.float().pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print(f"{loss.item():.4f}")


main()
