"""PyTorch's compiler, which takes seconds to import."""

codecache = "code of its own"
