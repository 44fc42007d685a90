"""A checkpoint that is read onto the GPU while the model is there already: both exist at once.

Variant 2 reads a real file with safetensors (its weights are a hole in the file: nothing is downloaded, and hardly
anything written). The others make on the GPU what torch.load(…, map_location="cuda") would.
"""

import json
import os
import struct
import tempfile

import torch
from safetensors.torch import load_file

import card

WIDTH = 8192


def load_checkpoint(model, dtype):
    """What torch.load(path, map_location="cuda") leaves on the GPU."""
    state = {}
    for name, weight in model.named_parameters():
        state[name] = torch.empty(weight.shape, dtype=dtype, device="cuda").normal_()  # guilty: 1 3
    return state


def make_file(path, model):
    """A safetensors file of the model's weights in 16 bits, all of them zero."""
    header, at = {}, 0
    for name, weight in model.named_parameters():
        header[name] = {"dtype": "BF16", "shape": list(weight.shape), "data_offsets": [at, at + 2 * weight.numel()]}
        at += 2 * weight.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


def build(size, dtype):
    """A model of about this many bytes."""
    weight = WIDTH * WIDTH * torch.finfo(dtype).bits // 8
    return torch.nn.Sequential(
        *[torch.nn.Linear(WIDTH, WIDTH, bias=False, device="cuda", dtype=dtype) for _ in range(size // weight)]
    )


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    if args.variant == 1:
        model = build(int(0.57 * total), torch.bfloat16)
        model.load_state_dict(load_checkpoint(model, torch.bfloat16))
    elif args.variant == 2:  # in 32 bits on the GPU, in 16 in the file
        model = build(int(0.7 * total), torch.float32)
        handle, path = tempfile.mkstemp(suffix=".safetensors")
        os.close(handle)
        try:
            make_file(path, model)
            model.load_state_dict(load_file(path, device="cuda"))  # guilty: 2
        finally:
            os.remove(path)
    else:  # the checkpoint is in more bits than the model
        model = build(int(0.4 * total), torch.float16)
        model.load_state_dict(load_checkpoint(model, torch.float32))


main()
