"""The rooms that live inside a host, imported as a host imports them.

A host loads the repository's root as a package under a name of its own and puts nothing on `sys.path`;
`negopt_nodes` and `a1111_extension` therefore import their neighbours relatively.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
NAME = "negopt_house"


def house(module: str) -> ModuleType:
    """A module of the house by its dotted name, as in `house("negopt_nodes.models")`."""
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[NAME])
    return importlib.import_module(f"{NAME}.{module}")
