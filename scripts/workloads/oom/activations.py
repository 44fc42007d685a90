"""Training with more tokens at once than there is room for: what the forward pass keeps for the backward pass."""

import torch
from transformers import LlamaConfig, LlamaModel

import card


class ConvBlock(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))  # guilty: 3


def encoder(total):
    width, tokens = 2048, 2048
    batch = int(64 * total / (79 * card.GIB))
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(width, 16, 4 * width, dropout=0.0, batch_first=True, norm_first=True) for _ in range(24)
        )
    optimizer = torch.optim.AdamW(layers.parameters())
    x = torch.randn(batch, tokens, width, device="cuda")
    for layer in layers:
        x = layer(x)  # guilty: 1
    x.float().mean().backward()
    optimizer.step()


def llama(total):
    config = LlamaConfig(
        vocab_size=4096, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=16,
        num_key_value_heads=16, max_position_embeddings=4096,
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaModel(config)
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(4096, (int(40 * total / (79 * card.GIB)), 4096), device="cuda")
    hidden = model(input_ids=ids, use_cache=False).last_hidden_state  # guilty: 2
    hidden.float().mean().backward()
    optimizer.step()


def images(total):
    model = torch.nn.Sequential(*[ConvBlock(64) for _ in range(20)]).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(int(128 * total / (79 * card.GIB)), 64, 256, 256, device="cuda")
    model(x).mean().backward()
    optimizer.step()


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    (encoder, llama, images)[args.variant - 1](total)


main()
