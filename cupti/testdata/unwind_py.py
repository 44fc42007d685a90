"""Unwinds through the interpreter and libffi; run by unwind_test with the library's path."""
import ctypes
import sys
import threading

lib = ctypes.CDLL(sys.argv[1])
if lib.py_refresh() < 0:
    sys.exit("no module map")
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
results = []


def inner(n):
    if n > 0:
        return inner(n - 1)
    return lib.py_check()


@CALLBACK
def outer(n):
    return inner(n)


def work():
    for n in range(6):
        results.append(lib.py_call(outer, n))
        results.append(min(map(lambda _: lib.py_check(), range(3))))


work()
threads = [threading.Thread(target=work) for _ in range(3)]
for t in threads:
    t.start()
for t in threads:
    t.join()
if results != [1] * 48:
    sys.exit(f"stacks differ: {results}")
print("python ok")
