"""AUTOMATIC1111's and Forge's door: loads this repository as one package and hands over. No logic here.

The package gets a name of its own, so that neither a negopt installed with pip nor another extension's
modules can stand in its way; a UI reload finds it loaded already.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "negopt_house"
ROOT = Path(__file__).resolve().parent.parent

if NAME not in sys.modules:
    _spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    sys.modules[NAME] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[NAME])

NegOptScript = importlib.import_module(f"{NAME}.a1111_extension").register()
