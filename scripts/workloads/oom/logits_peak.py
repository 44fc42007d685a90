"""A large vocabulary: the logits of all tokens, and what the loss makes of them, are the peak.

--fixed computes the loss in pieces whose logits are computed again in the backward pass.
"""

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, LlamaForCausalLM

import card


class Body(torch.nn.Module):
    def __init__(self, vocabulary, width, dtype):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, width, dtype=dtype)
        self.block = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, dtype=dtype)
        self.head = torch.nn.Linear(width, vocabulary, bias=False, dtype=dtype)

    def forward(self, ids):
        return self.block(self.embedding(ids))


def pieces(head, hidden, labels, size=1024):
    """The loss, of `size` tokens at a time."""

    def piece(h, target):
        return F.cross_entropy(head(h).float(), target, reduction="sum")

    hidden, labels = hidden.flatten(0, 1), labels.flatten()
    parts = [checkpoint(piece, h, t, use_reentrant=False) for h, t in zip(hidden.split(size), labels.split(size))]
    return torch.stack(parts).sum() / labels.numel()


def own(total, fixed, vocabulary, width, dtype, share):
    """Logits of a share of the card."""
    tokens = int(share * total / (vocabulary * torch.finfo(dtype).bits // 8)) // 1024 * 1024
    with torch.device("cuda"):
        model = Body(vocabulary, width, dtype)
    ids = torch.randint(vocabulary, (tokens // 1024, 1024), device="cuda")
    try:
        hidden = model(ids)
        if fixed:
            loss = pieces(model.head, hidden, ids)
        elif dtype is torch.float32:
            logits = model.head(hidden)
            loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten())  # guilty: 1
        else:
            logits = model.head(hidden)
            loss = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten())  # guilty: 3
    except torch.cuda.OutOfMemoryError:
        card.measure("need", torch.cuda.memory_allocated() + 4 * tokens * vocabulary)
        raise
    card.measure("need", torch.cuda.max_memory_allocated())
    loss.backward()


def llama(total, fixed):
    config = LlamaConfig(
        vocab_size=128256, hidden_size=1024, intermediate_size=2816, num_hidden_layers=2, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=2048,
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    tokens = int(0.21 * total / (2 * config.vocab_size)) // 2048 * 2048
    ids = torch.randint(config.vocab_size, (tokens // 2048, 2048), device="cuda")
    try:
        if fixed:
            loss = pieces(model.lm_head, model.model(input_ids=ids, use_cache=False).last_hidden_state, ids)
        else:
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss  # guilty: 2
    except torch.cuda.OutOfMemoryError:
        card.measure("need", torch.cuda.memory_allocated() + 4 * tokens * config.vocab_size)
        raise
    card.measure("need", torch.cuda.max_memory_allocated())
    loss.backward()


def main():
    args = card.arguments(("--fixed", None, False))
    total = card.begin(torch, args.variant)
    if args.variant == 1:
        own(total, args.fixed, 131072, 512, torch.float32, 0.53)
    elif args.variant == 2:
        llama(total, args.fixed)
    else:
        own(total, args.fixed, 262144, 768, torch.bfloat16, 0.34)


main()
