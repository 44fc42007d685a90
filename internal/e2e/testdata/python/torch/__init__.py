"""As much of PyTorch as warpscope's Python module touches, for machines without it."""

__version__ = "0.0+test"


class version:
    cuda = "0.0"


class _Storage:
    def __init__(self, address, size):
        self.address, self.size = address, size

    def data_ptr(self):
        return self.address

    def nbytes(self):
        return self.size


class Tensor:
    is_cuda = True
    grad = None

    def __init__(self, address, size):
        self.storage = _Storage(address, size)

    def untyped_storage(self):
        return self.storage


class _C:
    observers = []

    @classmethod
    def _cuda_attach_out_of_memory_observer(cls, observer):
        cls.observers.append(observer)


from torch import cuda, optim, utils  # noqa: E402, F401


def __getattr__(name):
    if name == "_inductor":
        import importlib

        return importlib.import_module("torch._inductor")
    raise AttributeError(name)
