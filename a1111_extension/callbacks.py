"""When the host calls NegOpt: to add settings, axes and routes.

The host forgets its callbacks when it loads its scripts again, so this runs each time.
"""

from __future__ import annotations

from typing import Any

from . import host
from .axes import add_axes
from .settings import add_settings


def register_callbacks() -> None:
    """Register all callbacks but the script's own hooks."""
    host.listen("ui_settings", add_settings)
    host.listen("before_ui", add_axes)
    host.listen("app_started", _app_started)


def _app_started(_: Any, app: Any) -> None:
    from .routes import add_routes

    add_routes(app)
