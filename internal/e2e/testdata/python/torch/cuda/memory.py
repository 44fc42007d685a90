calls = []


def _record_memory_history(enabled="all", context="all", stacks="all", **_):
    calls.append((str(enabled), context, stacks))


def _snapshot():
    return {"segments": [], "device_traces": [[]], "allocator_settings": {}}
