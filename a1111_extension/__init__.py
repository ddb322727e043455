"""NegOpt in AUTOMATIC1111, Forge and their forks: a script on both tabs, settings, X/Y/Z axes, an API.

`arguments.py` defines the script's controls once; the panel, the API's list, the infotext and the axes
are derived from it. `negatives.py` decides which negative each picture gets, `process.py` puts it into
the host's processing object, and neither imports a host. `host.py` is the door to the host's modules.
"""

from __future__ import annotations


def register() -> type:
    """Register the callbacks and return the script's class; called each time the host loads its scripts."""
    from .callbacks import register_callbacks
    from .script import NegOptScript

    register_callbacks()
    return NegOptScript
