"""A model that is larger than the GPU: it fails while its layers are made."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

import card


def stack(total):
    width = 16384
    layers = []
    for _ in range(2 * total // (width * width * 4)):
        layers.append(torch.nn.Linear(width, width, bias=False, device="cuda"))  # guilty: 1
    return layers


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    if args.variant == 1:
        stack(total)
    elif args.variant == 2:  # the shape of a model of 70 billion parameters, in 32 bits
        config = LlamaConfig(
            vocab_size=128256, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80,
            num_attention_heads=64, num_key_value_heads=8,
        )  # fmt: skip
        with torch.device("cuda"):
            LlamaForCausalLM(config)  # guilty: 2
    else:  # a mixture of experts, in 16 bits
        config = MixtralConfig(
            vocab_size=32000, hidden_size=6144, intermediate_size=16384, num_hidden_layers=56,
            num_attention_heads=48, num_key_value_heads=8, num_local_experts=8,
        )  # fmt: skip
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("cuda"):
            MixtralForCausalLM(config)  # guilty: 3


main()
