"""A training program on the simulated device, as seen by warpscope's Python module: prints what it did,
and what it finds that should not be there."""

import ctypes
import gc
import json
import sys
import time

before = list(sys.path)
import torch  # noqa: E402

driver = ctypes.CDLL("libcuda.so.1")
assert driver.cuInit(0) == 0
torch.cuda.init()


class Optimizer(torch.optim.optimizer.Optimizer):
    pass


first, second = Optimizer(), Optimizer()
for _ in range(6):
    time.sleep(0.002)
    first.step()
    second.step()
rows = [[] for _ in range(200_000)]
for row in rows:
    row.append(row)
del rows, row
gc.collect()
waits = list(torch.utils.data.dataloader._BaseDataLoaderIter([0.002, 0, 0.002]))
for n in range(4):
    for observer in torch._C.observers:
        observer(0, 1 << 30, 2 << 30, 3 << 20)

print(
    json.dumps(
        {
            "own_sitecustomize": own_sitecustomize,  # noqa: F821
            "path": [entry for entry in before if "warpscope" in entry],
            "modules": [name for name in sys.modules if name == "sitecustomize"],
            "loader": type(torch.__spec__.loader).__name__,
            "batches": len(waits),
            "history": torch.cuda.memory.calls,
            "observers": len(torch._C.observers),
        }
    )
)
