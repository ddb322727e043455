"""ComfyUI's door: finds the house and hands over. Elsewhere (a test run, another host) it does nothing."""

from importlib.util import find_spec

if find_spec("comfy_api") is not None:
    from .negopt_nodes import comfy_entrypoint  # noqa: F401

    WEB_DIRECTORY = "./negopt_nodes/web"
