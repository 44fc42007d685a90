"""Two causes: activations take most, the optimizer's state a third. The second forward pass fails."""

import torch

import card


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    torch.backends.cuda.matmul.allow_tf32 = True
    # Activations of a layer are a whole number of weights, so that the one fits where the other was.
    width, layers, times = ((8192, 52, 5), (4096, 210, 5), (6144, 92, 5))[args.variant - 1]
    layers = int(layers * total / (79 * card.GIB))
    model = torch.nn.Sequential(
        *[torch.nn.Sequential(torch.nn.Linear(width, width, bias=False, device="cuda"), torch.nn.ReLU()) for _ in range(layers)]
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    x = torch.randn(width * times, width, device="cuda")
    small = x[: width * times // 10]
    for n in range(4):
        batch = small if n == 0 else x
        model(batch).mean().backward()  # guilty
        optimizer.step()
        optimizer.zero_grad()


main()
