from torch.cuda import memory  # noqa: F401

_waiting = []


def _lazy_call(call):
    _waiting.append(call)


def init():
    while _waiting:
        _waiting.pop(0)()
