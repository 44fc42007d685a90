"""warpscope's part in a traced Python program.

Python imports this at its start because `warpscope run` put its folder first in PYTHONPATH. It takes
the folder out of sys.path again, runs the sitecustomize that would have been imported without it, and
waits until the program imports PyTorch. A program that never does pays for one look at each import.
Whatever fails here is warpscope's own affair and stays silent: the program comes first.
"""

import sys


def _here():
    return __file__.rpartition("/")[0]


def _debug(error):
    """Appends what went wrong to the file that WARPSCOPE_DEBUG names."""
    import os

    path = os.environ.get("WARPSCOPE_DEBUG")
    if path:
        import traceback

        with open(path, "a") as file:
            traceback.print_exception(type(error), error, error.__traceback__, file=file)


def _chain():
    """Runs the sitecustomize that stands behind this one, under its own name."""
    import importlib.machinery
    import importlib.util

    spec = importlib.machinery.PathFinder.find_spec("sitecustomize")
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


class _Waiting:
    """A finder that finds nothing itself: it wants to know when PyTorch has been imported."""

    def __init__(self, folder):
        self.folder = folder

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.folder)
        return spec


class _Loader:
    """The loader of PyTorch, with a call behind the import."""

    def __init__(self, loader, folder):
        self._loader = loader
        self._folder = folder

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        try:
            sys.path.insert(0, self._folder)
            try:
                import _warpscope_torch

                _warpscope_torch.begin(module, _debug)
            finally:
                sys.path.remove(self._folder)
        except Exception as error:
            _debug(error)


def _begin():
    import os

    folder = _here()
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    if not os.environ.get("WARPSCOPE_NO_PYTHON"):
        sys.meta_path.insert(0, _Waiting(folder))


try:
    _begin()
except Exception as error:
    _debug(error)
_chain()
