"""The programs that are measured, each as a step that can be repeated: program(name, options, folder).

A step ends when the GPU is done with it. All are seeded and download nothing. Those of PyTorch are the
ones of scripts/workloads; the others are loops in C over single driver calls (calls.c).
"""

import ctypes
import os
import sys

WORKLOADS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "workloads")


class Program:
    """What is measured: step() does one step and waits for it. units: how many things (launches, …) a step does,
    which a time is divided by where that is more telling than a step."""

    units = 1
    unit = "step"

    def step(self):
        raise NotImplementedError

    def facts(self):
        """What the results should say of the machine."""
        return {}


class Torch(Program):
    """Common to programs that use PyTorch."""

    def __init__(self):
        import torch

        self.torch = torch
        torch.manual_seed(0)

    def facts(self):
        torch = self.torch
        return {
            "gpu": torch.cuda.get_device_name(0),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "reserved_mib": torch.cuda.memory_reserved() >> 20,
        }


class GPT(Torch):
    """A training step of workloads/train_gpt.py; graph: captured as a CUDA graph and replayed."""

    def __init__(self, mode="gpu", layers=12):
        super().__init__()
        sys.path.insert(0, WORKLOADS)
        from train_gpt import GPT as Model
        from train_gpt import VOCABULARY

        torch = self.torch
        batch, tokens = (8, 1024) if mode == "gpu" else (1, 64)
        self.model = Model(layers, heads=12, width=768, tokens=tokens).cuda()
        # As there: one fused call where the GPU is the bottleneck, many small ones where launching is.
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, foreach=mode != "gpu", fused=mode == "gpu")
        self.inputs = torch.randint(0, VOCABULARY, (batch, tokens), device="cuda")
        self.targets = torch.randint(0, VOCABULARY, (batch, tokens), device="cuda")

    def step(self):
        with self.torch.autocast("cuda", self.torch.bfloat16):
            loss = self.model(self.inputs, self.targets)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.torch.cuda.synchronize()


class Generate(Torch):
    """Tokens from a small random Llama of transformers, greedily, as workloads/generate.py makes them."""

    unit = "token"

    def __init__(self, tokens=4, layers=8):
        super().__init__()
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import LlamaConfig, LlamaForCausalLM

        torch = self.torch
        self.units = tokens
        config = LlamaConfig(
            vocab_size=32000,
            hidden_size=1024,
            intermediate_size=2816,
            num_hidden_layers=layers,
            num_attention_heads=16,
            num_key_value_heads=4,
            max_position_embeddings=32 + tokens,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=0,
            attn_implementation="sdpa",
        )
        self.model = LlamaForCausalLM(config).to(device="cuda", dtype=torch.bfloat16).eval()
        self.prompt = torch.randint(1, config.vocab_size, (1, 32), device="cuda")
        self.mask = torch.ones_like(self.prompt)

    def step(self):
        with self.torch.inference_mode():
            self.model.generate(
                self.prompt,
                attention_mask=self.mask,
                do_sample=False,
                min_new_tokens=self.units,
                max_new_tokens=self.units,
                use_cache=True,
            )
        self.torch.cuda.synchronize()


class Graph(Torch):
    """A CUDA graph of small kernels, replayed."""

    unit = "replay"

    def __init__(self, prime, nodes=100, replays=20):
        super().__init__()
        self.units, self.nodes = replays, nodes
        self.x = self.torch.zeros(1 << 16, device="cuda")
        self.x.add_(1)
        self.torch.cuda.synchronize()
        prime()
        self.make()

    def make(self):
        self.graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(self.graph):
            for _ in range(self.nodes):
                self.x.add_(1)

    def step(self):
        for _ in range(self.units):
            self.graph.replay()
        self.torch.cuda.synchronize()


class Calls(Program):
    """Loops in C over single driver calls."""

    def __init__(self, folder):
        self.library = ctypes.CDLL(os.path.join(folder, "libcalls.so"))
        self.library.calls_launch.restype = ctypes.c_double
        self.library.calls_launch.argtypes = [ctypes.c_long]
        self.library.calls_allocate.restype = ctypes.c_double
        self.library.calls_allocate.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
        failed = self.library.calls_open()
        if failed:
            raise RuntimeError(f"the CUDA driver could not be used: error {failed}")


class Launches(Calls):
    """Empty kernels, completion included."""

    unit = "launch"

    def __init__(self, folder, launches=1000):
        super().__init__(folder)
        self.units = launches

    def step(self):
        if self.library.calls_launch(self.units) < 0:
            raise RuntimeError("a launch failed")


class Allocations(Calls):
    """Allocations, each freed at once, below so many frames. The thread's start is a part of the step."""

    unit = "allocation and its release"

    def __init__(self, folder, allocations=1000, size=512):
        super().__init__(folder)
        self.units, self.size = allocations, size
        self.choose(1, False)

    def choose(self, depth, ordered):
        """Below how many frames, and whether of the stream's order."""
        self.arguments = (self.units, depth, self.size, int(ordered))

    def step(self):
        if self.library.calls_allocate(*self.arguments) < 0:
            raise RuntimeError("an allocation failed")


def prepare(name):
    """Imports what a program needs, which takes seconds and touches no GPU."""
    if name in ("gpt", "generate", "graph"):
        import torch  # noqa: F401
    if name == "generate":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import LlamaConfig, LlamaForCausalLM  # noqa: F401


def program(name, options, folder, prime):
    """Builds a program; folder has libcalls.so. prime() is called before a graph is instantiated: CUPTI needs to be
    there by then to record its nodes later."""
    if name == "graph":
        return Graph(prime, **options)
    if name in ("launches", "allocations"):
        return {"launches": Launches, "allocations": Allocations}[name](folder, **options)
    return {"gpt": GPT, "generate": Generate}[name](**options)
