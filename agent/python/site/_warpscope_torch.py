"""What warpscope asks of PyTorch, once it has been imported: each part by itself, so that one that a
version of PyTorch does not allow leaves the others."""

import os


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

    made = {}
    for part in (_warpscope_steps, _warpscope_collector, _warpscope_input, _warpscope_memory):
        try:
            made[part] = part.begin(torch, library)
        except Exception as error:
            debug(error)
    sampling = os.environ.get("WARPSCOPE_PYTHON_SAMPLING", "50")
    if sampling == "off" or library.sleep is None:
        return
    try:
        sample(torch, library, debug, made.get(_warpscope_steps), float(sampling))
    except Exception as error:
        debug(error)


def sample(torch, library, debug, steps, rate):
    """Stacks from the moment at which CUDA is initialised, and operators in some of the steps."""
    import _warpscope_stacks
    from _warpscope_memory import when_initialised

    sampler = _warpscope_stacks.Sampler(library, rate)
    if steps is not None and os.environ.get("WARPSCOPE_OPERATORS") != "off":
        try:
            import _warpscope_operators

            operators = _warpscope_operators.begin(torch, library)
            operators.publisher.ending = sampler.word
            steps.after, sampler.after = operators.after_step, operators.between
        except Exception as error:
            debug(error)
    when_initialised(torch, sampler.start)
