#!/usr/bin/env python3
"""Matrix products in full fp32: the tensor cores are idle.

Variant 1 trains a GPT, 2 a perceptron, 3 multiplies batches of matrices. --fixed allows TF32.
"""

import frame


def build(variant, fixed):
    import torch
    from torch.nn import functional as F

    import models

    torch.set_float32_matmul_precision("high" if fixed else "highest")
    if variant == 1:
        model = models.GPT(4, heads=16, width=1024, tokens=512, vocabulary=8192).cuda()
        return models.training(model, models.tokens(8, 512, 8192), models.trainer(model))  # guilty
    if variant == 2:
        model = models.MLP(3072, 5).cuda()
        optimizer = models.trainer(model)
        x, label = torch.randn(4096, 3072, device="cuda"), torch.randint(0, 1000, (4096,), device="cuda")

        def step():
            F.cross_entropy(model(x), label).backward()  # guilty
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step
    series = torch.randn(48, 1024, 1024, device="cuda")

    def step():
        products = series @ series.transpose(1, 2)  # guilty
        for _ in range(4):
            products = products @ series * 1e-3  # guilty
        return products.diagonal(dim1=1, dim2=2).sum()

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
