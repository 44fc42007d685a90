"""As much of PyTorch as warpscope's Python module touches, for machines without it."""

__version__ = "0.0+test"


class version:
    cuda = "0.0"


class _C:
    observers = []

    @classmethod
    def _cuda_attach_out_of_memory_observer(cls, observer):
        cls.observers.append(observer)


from torch import cuda, optim, utils  # noqa: E402, F401
