#!/usr/bin/env python3
"""The GPU's memory is the limit, and nothing else is wrong.

Variant 1 passes one token through large matrices, 2 updates many parameters with a fused optimizer, 3 looks
up rows of large tables.
"""

import frame


def build(variant, _fixed):
    import torch
    from torch.nn import functional as F

    import models

    if variant == 1:
        width = 12288
        table = torch.randn(8192, width, device="cuda", dtype=torch.bfloat16)
        weights = [torch.randn(width, width, device="cuda", dtype=torch.bfloat16) * 0.01 for _ in range(24)]
        token = torch.zeros(1, dtype=torch.long, device="cuda")

        @torch.no_grad()
        def step():
            x = F.embedding(token, table)
            for weight in weights:
                x = F.rms_norm(x @ weight, (width,))
            token.copy_((x @ table.T).argmax(-1))

        return step
    if variant == 2:
        parameters = torch.nn.ParameterList(torch.randn(48 << 20) for _ in range(16)).cuda()
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        return models.trainer(parameters).step
    tables = [torch.randn(1 << 20, 1024, device="cuda", dtype=torch.bfloat16) for _ in range(8)]
    rows = torch.randint(0, 1 << 20, (1 << 18,), device="cuda")
    results = [torch.empty(1 << 18, 1024, device="cuda", dtype=torch.bfloat16) for _ in tables]

    def step():
        for table, result in zip(tables, results):
            torch.index_select(table, 0, rows, out=result)
        return results[-1].amax()

    return step


if __name__ == "__main__":
    frame.run(__doc__, build, unfixable="the hardware is the limit")
