"""Two causes: the KV cache takes most, the private pools of CUDA graphs a good part."""

import torch

import card


class Server:
    def __init__(self, width, inner, layers, slots):
        self.up = torch.randn(width, inner, device="cuda") * 0.02
        self.down = torch.randn(inner, width, device="cuda") * 0.02
        self.slots, self.width = slots, width
        self.kv_cache = [[] for _ in range(layers)]

    def forward(self, x):
        return torch.nn.functional.gelu(x @ self.up) @ self.down

    def grow_kv_cache(self):
        for layer in self.kv_cache:
            layer.append(torch.zeros(2, self.slots, self.width, device="cuda"))  # guilty


def main():
    args = card.arguments()
    total = card.begin(torch, args.variant)
    torch.set_default_dtype(torch.bfloat16)
    width, inner, layers, slots, sizes = ((1024, 8192, 32, 8192, 4), (512, 4096, 48, 16384, 8), (2048, 16384, 24, 4096, 3))[args.variant - 1]
    server = Server(width, inner, layers, slots)
    graphs = []
    with torch.no_grad():
        server.forward(torch.zeros(64, width, device="cuda"))
        torch.cuda.synchronize()
        for n in range(sizes):
            rows = int(0.27 * total / (2 * inner * 2) / sizes * (0.85 + 0.3 * n / sizes))
            x = torch.zeros(rows, width, device="cuda")
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                y = server.forward(x)
            graphs.append((graph, x, y))
        while True:
            server.grow_kv_cache()
            graphs[0][0].replay()


main()
