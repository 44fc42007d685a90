#!/usr/bin/env python3
"""Copies between the GPU and pageable memory, which hold up the thread and the GPU.

Variant 1 copies pictures to the GPU, 2 weights of layers that are kept on the host, 3 tables there and results back.
--fixed uses pinned memory and copies on a stream of its own while the GPU computes.
"""

import frame


class Feed:
    """Copies the next input beforehand, on a stream of its own."""

    def __init__(self, hosts):
        import torch

        self.torch = torch
        self.hosts = [host.pin_memory() for host in hosts]
        self.stream = torch.cuda.Stream()
        self.at = 0
        self.fetch()

    def fetch(self):
        with self.torch.cuda.stream(self.stream):
            self.next = self.hosts[self.at % len(self.hosts)].to("cuda", non_blocking=True)
        self.at += 1

    def __call__(self):
        current = self.torch.cuda.current_stream()
        current.wait_stream(self.stream)
        now = self.next
        now.record_stream(current)
        self.fetch()
        return now


def pageable(hosts):
    steps = iter(range(1 << 30))

    def feed():
        return hosts[next(steps) % len(hosts)].to("cuda")  # guilty

    return feed


def build(variant, fixed):
    import torch
    from torch.nn import functional as F

    import models

    if variant == 1:
        model = models.ConvNet(128, (2, 2, 2)).cuda().to(torch.bfloat16, memory_format=torch.channels_last)
        optimizer = models.trainer(model)
        label = torch.randint(0, 1000, (192,), device="cuda")
        hosts = [torch.randn(192, 3, 224, 224) for _ in range(3)]
        feed = Feed(hosts) if fixed else pageable(hosts)

        def step():
            picture = feed().to(torch.bfloat16, memory_format=torch.channels_last)
            F.cross_entropy(model(picture), label).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step
    if variant == 2:
        hosts = [torch.randn(4096, 4096).bfloat16() for _ in range(6)]
        feed = Feed(hosts) if fixed else pageable(hosts)
        x = torch.randn(12288, 4096, device="cuda", dtype=torch.bfloat16)

        def step():
            y = x
            for _ in hosts:
                y = torch.relu(y @ feed()) * 0.01
            return y.amax()

        return step
    hosts = [torch.randn(16, 1024, 1024) for _ in range(3)]
    feed = Feed(hosts) if fixed else pageable(hosts)
    target = torch.empty(16, 1024, 1024, pin_memory=fixed)
    weight = torch.randn(1024, 1024, device="cuda")
    torch.set_float32_matmul_precision("high")

    def step():
        table = feed()
        for _ in range(24):
            table = torch.tanh(table @ weight)
        if fixed:
            target.copy_(table, non_blocking=True)
        else:
            target.copy_(table)

    return step


if __name__ == "__main__":
    frame.run(__doc__, build)
