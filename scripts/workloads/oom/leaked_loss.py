"""A history of losses that keeps what made them. --fixed keeps numbers.

Variant 1 keeps validation losses with their graphs; 2 keeps outputs for a metric; 3 carries a recurrent state over
from step to step without detaching it. (After backward() a loss alone keeps little: its graph has given back what it saved.)
"""

import torch

import card


def perceptron(width, depth):
    layers = []
    for _ in range(depth):
        layers += [torch.nn.Linear(width, width, device="cuda"), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers)


class Watch:
    """How live memory changes from step to step, after the first ones."""

    def __init__(self):
        self.at = []

    def step(self):
        self.at.append(torch.cuda.memory_allocated())

    def tell(self):
        if len(self.at) > 6:
            card.measure("slope", (self.at[-1] - self.at[5]) / (len(self.at) - 6))


def validation(fixed, steps, watch):
    model = perceptron(4096, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, y = torch.randn(8192, 4096, device="cuda"), torch.randn(8192, 4096, device="cuda")
    criterion = torch.nn.MSELoss()
    history = []
    for _ in range(steps):
        criterion(model(x[:512]), y[:512]).backward()
        optimizer.step()
        optimizer.zero_grad()
        loss = criterion(model(x), y)  # guilty: 1
        history.append(loss.item() if fixed else loss)
        del loss
        watch.step()


def metric(fixed, steps, watch):
    model = torch.nn.Sequential(torch.nn.Embedding(1000, 1024), torch.nn.Linear(1024, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 16384)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    predictions = []
    for _ in range(steps):
        ids = torch.randint(1000, (64, 256), device="cuda")
        outputs = model(ids)  # guilty: 2
        loss = outputs.logsumexp(-1).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        predictions.append(loss.item() if fixed else outputs)
        del outputs, loss
        watch.step()


def recurrent(fixed, steps, watch):
    cell = torch.nn.GRUCell(512, 512).cuda()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.0)
    state = torch.zeros(131072, 512, device="cuda")
    x = torch.randn(131072, 512, device="cuda")
    for _ in range(steps):
        if fixed:
            state = state.detach()
        state = cell(x, state)  # guilty: 3
        state.mean().backward(retain_graph=True)
        optimizer.zero_grad()
        watch.step()


def main():
    args = card.arguments(("--fixed", None, False))
    card.begin(torch, args.variant)
    torch.backends.cuda.matmul.allow_tf32 = True
    watch = Watch()
    try:
        (validation, metric, recurrent)[args.variant - 1](args.fixed, 24 if args.fixed else 1000, watch)
    finally:
        watch.tell()


main()
