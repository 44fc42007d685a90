"""Gradients of the step before are there still while the next forward pass runs. Variant 2 zeroes them, and keeps
their memory. --fixed gives them back before the forward pass; --at N says at which layer of the second step to measure."""

import torch

import card


def step(layers, optimizer, x, how, second, at):
    if how == "zeroed":
        optimizer.zero_grad(set_to_none=False)
    elif how == "freed":
        optimizer.zero_grad(set_to_none=True)
    for n, layer in enumerate(layers):
        live = torch.cuda.memory_allocated()
        if second and n == at:
            card.measure("need", live)
        try:
            x = torch.relu(layer(x))
        except torch.cuda.OutOfMemoryError:
            card.measure("layer", n)
            card.measure("need", live)
            raise
    x.mean().backward()
    optimizer.step()


def main():
    args = card.arguments(("--fixed", None, False), ("--at", int, -1))
    total = card.begin(torch, args.variant)
    torch.backends.cuda.matmul.allow_tf32 = True
    # Gradients and states are whole parts of activations, so that the one fits where the other was.
    width, layers, rows = ((8192, 48, 24576), (6144, 84, 18432), (4096, 190, 12288))[args.variant - 1]
    layers = int(layers * total / (79 * card.GIB))
    model = torch.nn.ModuleList(torch.nn.Linear(width, width, bias=False, device="cuda") for _ in range(layers))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    x = torch.randn(rows, width, device="cuda")
    how = "freed" if args.fixed else "zeroed" if args.variant == 2 else "kept"
    for n in range(3):
        step(model, optimizer, x, how, n == 1, args.at)


main()
