"""river's ADWIN alone, without what the rest of `river.drift` imports.

Its data sets and its KSWIN bring pandas and SciPy, and scikit-learn and SQLAlchemy where these are
installed: seconds of every start and a hundred megabytes, for nothing that is used here.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec

_PACKAGE = "river.drift"


def _adwin() -> type:
    """The class; the package around it is left to whoever imports it whole."""
    spec = find_spec(_PACKAGE)
    assert spec is not None
    whole = sys.modules.get(_PACKAGE)
    sys.modules[_PACKAGE] = whole or module_from_spec(spec)
    try:
        from river.drift.adwin import ADWIN
    finally:
        if whole is None:
            del sys.modules[_PACKAGE]
    found: type = ADWIN
    return found


ADWIN = _adwin()
