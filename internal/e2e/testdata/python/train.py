"""A training program on the simulated device, as seen by warpscope's Python module: prints what it did,
and what it finds that should not be there."""

import _thread
import ctypes
import gc
import json
import os
import pickle
import sys
import time

before = list(sys.path)
import torch  # noqa: E402

driver = ctypes.CDLL("libcuda.so.1")
assert driver.cuInit(0) == 0
torch.cuda.init()


class Optimizer(torch.optim.optimizer.Optimizer):
    pass


MIB = 1 << 20
weight = torch.Tensor(1024 * MIB, MIB)
first, second = Optimizer([weight]), Optimizer()
torch.cuda.set_per_process_memory_fraction(0.5)
for _ in range(6):
    time.sleep(0.002)
    first.step()
    second.step()
weight.grad = torch.Tensor(1025 * MIB, MIB)
first.state[weight] = {"step": 6, "exp_avg": torch.Tensor(1026 * MIB, MIB)}
rows = [[] for _ in range(200_000)]
for row in rows:
    row.append(row)
del rows, row
gc.collect()
waits = list(torch.utils.data.dataloader._BaseDataLoaderIter([0.002, 0, 0.002]))
if "thread" in sys.argv:
    # As the autograd engine's threads call it: with no Python below.
    _thread.start_new_thread(torch._C.observers[0], (0, 1 << 30, 4 << 30, 1 << 20))
    while True:  # the test has a limit
        try:
            with open("%s.oom-%d-1.pickle" % (os.environ["WARPSCOPE_PYTHON_OUT"], os.getpid()), "rb") as file:
                pickle.load(file)
            break
        except (OSError, EOFError, pickle.UnpicklingError):
            time.sleep(0.001)
torch.cuda.memory.leaked = 4 << 20 if "leak" in sys.argv else 0
for n in range(0 if sys.argv[1:] else 4):
    for observer in torch._C.observers:
        observer(0, 1 << 30, 2 << 30, 3 << 30)

print(
    json.dumps(
        {
            "own_sitecustomize": own_sitecustomize,  # noqa: F821
            "path": [entry for entry in before if "warpscope" in entry],
            "modules": [name for name in sys.modules if name == "sitecustomize"],
            "loader": type(torch.__spec__.loader).__name__,
            "batches": len(waits),
            "history": torch.cuda.memory.calls,
            "fractions": torch.cuda.memory.fractions,
            "observers": len(torch._C.observers),
        }
    )
)
