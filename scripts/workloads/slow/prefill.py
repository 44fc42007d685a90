#!/usr/bin/env python3
"""A transformers model reads prompts: large matrix products, and between them what the library writes operation by operation.

Variant 1 is Llama, 2 GPT-2, 3 Qwen2, all with random weights.
"""

import frame
import llama


def build(variant, _fixed):
    import torch

    model = llama.model(variant, layers=(6, 8, 5)[variant - 1])
    tokens = llama.prompt(8, 2048)

    @torch.inference_mode()
    def step():
        model(input_ids=tokens, use_cache=True, logits_to_keep=1)

    return step


if __name__ == "__main__":
    frame.run(__doc__, build, prepare=llama.prepare, unfixable="the GPU works all the time")
