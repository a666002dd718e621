"""Direct Preference Optimization, every equation exact: the package behind the workbook.

The public names stand in ``__init__.pyi``. Each is loaded when it is first asked for, so that the command line can
answer ``--help`` without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
