"""The door to kio: its index of schemas, without what it would bring along.

Where hypothesis is installed, kio registers strategies with it as it is imported: 0.4 s of a node's
start, and a folder in the working directory. A node has no use for them; tests that do have loaded
hypothesis before.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kio.index import load_request_schema, load_response_schema
else:
    _absent = "hypothesis" not in sys.modules
    if _absent:
        sys.modules["hypothesis"] = None  # import then fails as if it were not installed
    try:
        _index = import_module("kio.index")
    finally:
        if _absent:
            del sys.modules["hypothesis"]
    load_request_schema = _index.load_request_schema
    load_response_schema = _index.load_response_schema

__all__ = ["load_request_schema", "load_response_schema"]
