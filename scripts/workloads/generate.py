#!/usr/bin/env python3
"""Token-by-token generation with a small, randomly initialised Llama from transformers.

    generate.py TOKENS [--layers 8] [--batch 1]

No downloads, one seed, greedy decoding and no end-of-sequence token, so that every run takes the same
number of steps and launches the same kernels. Prints one JSON line with the time per token.
"""

import argparse
import json
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=int, help="tokens to generate")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=32, help="tokens of the prompt")
    args = parser.parse_args()

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=args.layers,
        num_attention_heads=16,
        num_key_value_heads=4,
        max_position_embeddings=args.prompt + args.tokens,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config).to(device="cuda", dtype=torch.bfloat16).eval()
    prompt = torch.randint(1, config.vocab_size, (args.batch, args.prompt), device="cuda")
    begin = time.perf_counter()
    with torch.inference_mode():
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=args.tokens,
            max_new_tokens=args.tokens,
            use_cache=True,
        )
    torch.cuda.synchronize()
    elapsed = time.perf_counter() - begin
    generated = output.shape[1] - args.prompt
    print(
        json.dumps(
            {
                "tokens": generated,
                "ms_per_token": round(elapsed * 1e3 / max(generated, 1), 3),
                "sum": int(output.sum()),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
