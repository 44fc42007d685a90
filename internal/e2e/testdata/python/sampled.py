"""A program with threads, a child and a second interpreter, on the simulated device: prints what it finds that should
not be there. Its threads stay where the test expects to find them."""

import ctypes
import json
import os
import sys
import threading
import time

import torch

driver = ctypes.CDLL("libcuda.so.1")
assert driver.cuInit(0) == 0
torch.cuda.init()
began = time.monotonic()
stop = False


def busy():
    n = 0
    while not stop:
        n += sum(range(500))  # busy
    return n


def other():
    """Another interpreter, in which the module is not."""
    try:
        import _interpreters as interpreters  # 3.13 and newer
    except ImportError:
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            return "none"
    made = interpreters.create()
    run = getattr(interpreters, "exec", None) or interpreters.run_string
    run(made, "import time\nfor _ in range(20): time.sleep(0.002)")
    interpreters.destroy(made)
    return "ran"


worker = threading.Thread(target=busy)
worker.start()
child = os.fork()
if child == 0:
    sys.exit(7)  # runs what is registered for the end
asked = time.monotonic()
_, status = os.waitpid(child, 0)
while time.monotonic() - began < 0.7:
    time.sleep(0.01)  # waiting
interpreter = other() if sys.version_info >= (3, 12) else "none"  # before, they hang by themselves beside threads
stop = True
worker.join()
print(
    json.dumps(
        {
            "threads": [thread.name for thread in threading.enumerate()],
            "child": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
            "interpreter": interpreter,
            "worker": worker.native_id,
        }
    )
)
sys.exit(3)
