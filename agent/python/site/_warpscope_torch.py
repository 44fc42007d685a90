"""What warpscope asks of PyTorch, once it has been imported: each part by itself, so that one that a
version of PyTorch does not allow leaves the others."""


def begin(torch, debug):
    import _warpscope_library as library

    if not library.present:
        return  # the process is not traced: its environment was cleaned, or it is another program's child
    if torch.version.cuda is None:
        return
    import _warpscope_collector
    import _warpscope_input
    import _warpscope_memory
    import _warpscope_steps

    for part in (_warpscope_steps, _warpscope_collector, _warpscope_input, _warpscope_memory):
        try:
            part.begin(torch, library)
        except Exception as error:
            debug(error)
