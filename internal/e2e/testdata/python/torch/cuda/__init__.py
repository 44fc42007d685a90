from torch.cuda import memory  # noqa: F401
from torch.cuda.memory import set_per_process_memory_fraction  # noqa: F401

_waiting = []


def _lazy_call(call):
    _waiting.append(call)


def init():
    while _waiting:
        _waiting.pop(0)()


def is_initialized():
    return not _waiting


class _Properties:
    total_memory = 4 << 30


def get_device_properties(device):
    return _Properties()
