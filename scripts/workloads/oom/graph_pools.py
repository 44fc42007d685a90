"""A CUDA graph for each batch size, each with a private pool of its own: what they keep is missed elsewhere."""

import torch

import card


class Model(torch.nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.up = torch.nn.Linear(width, inner, bias=False)
        self.down = torch.nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down(torch.nn.functional.gelu(self.up(x)))


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    width, inner, sizes = (
        (256, 8192, 8),
        (128, 4096, 20),
        (512, 16384, 5),
    )[args.variant - 1]
    torch.set_default_dtype(torch.bfloat16)
    model = Model(width, inner).cuda().eval()
    # The larger ones come later, so that none fits where another was.
    unit = int(0.88 * total / (2 * inner * 2) / sum(1 + 0.1 * n for n in range(sizes)))
    graphs = []
    with torch.no_grad():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            model(torch.zeros(64, width, device="cuda"))
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        for n in range(sizes):
            rows = int(unit * (1 + 0.1 * n))
            x = torch.zeros(rows, width, device="cuda")
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                y = model(x)
            graphs.append((graph, x, y))
        for graph, _, _ in graphs:
            graph.replay()
        torch.cuda.synchronize()
        model(torch.zeros(int(0.13 * total / (2 * inner)), width, device="cuda"))  # a batch that no graph is for


main()
