"""The script on both tabs: the panel, and the hooks that the host calls for each job."""

from __future__ import annotations

from typing import Any

from . import host
from .arguments import ARGUMENTS
from .panel import Panel
from .process import process, process_batch


class NegOptScript(host.Script):
    """Writes the negative prompt that suits each prompt."""

    create_group = False  # the accordion is group enough

    def __init__(self) -> None:
        super().__init__()
        self._panel = Panel()

    def title(self) -> str:
        return "NegOpt"

    def show(self, is_img2img: bool) -> Any:
        return host.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        """Build the panel. The host calls this three times a tab: once to show it, twice for defaults."""
        controls = self._panel.build(self.elem_id)
        self.infotext_fields = self._panel.paste_fields
        self.paste_field_names = [reader for _, reader in self.infotext_fields]
        return controls

    def after_component(self, component: Any, **kwargs: Any) -> None:
        """The panel's buttons read and fill the prompt boxes, which the host makes."""
        self._panel.see(component, "img2img" if self.is_img2img else "txt2img")

    def process(self, p: Any, *values: Any) -> None:
        """Before a job: prompts, styles and seeds are known, nothing is encoded yet."""
        given = [host.default_of(a) if value is None else value for a, value in zip(ARGUMENTS, values, strict=False)]
        process(p, given, lambda model: host.writer().write(model), comments=host.comments_enabled())

    def process_batch(self, p: Any, *values: Any, **kwargs: Any) -> None:
        process_batch(p)
