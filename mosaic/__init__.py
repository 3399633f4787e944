"""mosaic: analytic score machines for diffusion models, run, stored and compared.

The public names are those that the stub beside this file, `__init__.pyi`, imports. They are imported on first use, so
`import mosaic` costs nothing.
"""

import sys
from types import ModuleType

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _Package(ModuleType):
    """Keeps public names that are also names of rooms: `mosaic.run` is the function, not the folder.

    Python binds a submodule to its package when it first imports it, and would replace the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
