#!/usr/bin/env python3
"""A transformers model writes token by token: short kernels, launched one by one.

Variant 1 is Llama, 2 GPT-2, 3 Qwen2 with four sequences, all with random weights. A step is 24 tokens after a prompt of 256.
"""

import frame
import llama

TOKENS = 24


def build(variant, _fixed):
    import torch

    model = llama.model(variant, layers=(12, 16, 10)[variant - 1])
    tokens = llama.prompt(4 if variant == 3 else 1, 256)
    mask = torch.ones_like(tokens)

    @torch.inference_mode()
    def step():
        model.generate(tokens, attention_mask=mask, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)  # guilty

    return frame.Several(step, TOKENS)


if __name__ == "__main__":
    frame.run(__doc__, build, prepare=llama.prepare, unfixable="a compiled model takes minutes to build")
