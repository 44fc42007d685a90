"""The program's own, which would be imported without warpscope."""

import builtins

builtins.own_sitecustomize = __name__
