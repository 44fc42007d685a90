import os

calls = []
fractions = []


def _record_memory_history(enabled="all", context="all", stacks="all", **_):
    if os.environ.get("OTHER_PYTORCH"):
        raise TypeError("a version that takes other arguments")
    calls.append((str(enabled), context, stacks))


def set_per_process_memory_fraction(fraction, device=None):
    fractions.append(fraction)


def _snapshot():
    import torch

    # As PyTorch does while stacks become text: what is not there yet is imported.
    if hasattr(torch, "_inductor") and hasattr(torch._inductor, "codecache"):
        raise RuntimeError("the compiler was imported for a snapshot")
    if calls and calls[0][0] == "all":
        return _history()

    def block(address, size):
        return {"address": address, "size": size, "requested_size": size, "state": "active_allocated", "frames": []}

    blocks = [block((1 << 30) + (n << 20), 1 << 20) for n in range(4)]
    segment = {"device": 0, "address": 1 << 30, "total_size": 4 << 20, "stream": 0, "segment_type": "large", "blocks": blocks}
    return {"segments": [segment], "device_traces": [[]], "allocator_settings": {}}


leaked = 0  # bytes that each of 40 steps keeps


def _history():
    """What PyTorch would have recorded of steps that allocate, keep some, and free the rest."""
    base, size = 1 << 30, 1 << 30
    step = [{"name": "main", "filename": "job.py", "line": 5}]
    keep = [{"name": "keep", "filename": "job.py", "line": 2}] + step
    events, blocks, at = [], [], base

    def event(action, address, size, frames):
        events.append({"action": action, "addr": address, "size": size, "stream": 0, "time_us": len(events) + 1, "frames": frames})

    def block(address, size, state, frames):
        blocks.append({"address": address, "size": size, "requested_size": size, "state": state, "frames": frames})

    event("segment_alloc", base, size, step)
    for _ in range(40):
        event("alloc", base + size - (8 << 20), 8 << 20, step)
        if leaked:
            event("alloc", at, leaked, keep)
            block(at, leaked, "active_allocated", keep)
            at += leaked
        event("free_requested", base + size - (8 << 20), 8 << 20, step)
        event("free_completed", base + size - (8 << 20), 8 << 20, step)
    block(at, base + size - at, "inactive", [])
    segment = {"device": 0, "address": base, "total_size": size, "stream": 0, "segment_type": "large", "frames": step, "blocks": blocks}
    return {"segments": [segment], "device_traces": [events], "allocator_settings": {}}
