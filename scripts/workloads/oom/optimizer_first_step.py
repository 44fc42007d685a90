"""Parameters and gradients fit; the optimizer's state, which appears in its first step, does not."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import card


def linear(total, share, width, **options):
    """A share of the card in parameters."""
    model = torch.nn.Sequential(
        *[torch.nn.Linear(width, width, bias=False, device="cuda") for _ in range(int(share * total / (4 * width * width)))]
    )
    optimizer = torch.optim.AdamW(model.parameters(), **options)
    model(torch.randn(16, width, device="cuda")).pow(2).mean().backward()
    optimizer.step()  # guilty: 1 3


def gpt(total):
    layers = int(0.23 * total / 4 / (12 * 5120 * 5120))
    config = GPT2Config(vocab_size=8192, n_positions=256, n_embd=5120, n_layer=layers, n_head=40, use_cache=False)
    with torch.device("cuda"):
        model = GPT2LMHeadModel(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    ids = torch.randint(8192, (1, 128), device="cuda")
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()  # guilty: 2


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    torch.backends.cuda.matmul.allow_tf32 = True
    if args.variant == 1:
        linear(total, 0.22, 8192)
    elif args.variant == 2:
        gpt(total)
    else:  # without the temporaries of a step for all parameters at once
        linear(total, 0.28, 6144, foreach=False)


main()
