"""The settings page: each control's default, where models lie, and where to keep a record."""

from __future__ import annotations

from . import host
from .arguments import ARGUMENTS
from .controls import component

SECTION = ("negopt", "NegOpt")
NO_DEFAULT = ("seed", "originals")
"""Controls that belong to one picture, not to the person."""


def add_settings() -> None:
    """Add NegOpt's section to the host's settings page."""
    paths = {"visible": host.lets_paths_be_set()}
    folder = host.OptionInfo("", "Models folder", component_args=paths, section=SECTION)
    host.add_setting(
        host.MODELS_FOLDER,
        folder.info("Holds models, one folder each; models/negopt in the host's data folder is looked into, too."),
    )
    record = host.OptionInfo("", "Record file", component_args=paths, section=SECTION)
    host.add_setting(
        host.RECORD_FILE,
        record.info("Gets one line of JSON for each negative prompt written. Empty: no record is kept."),
    )
    for argument in ARGUMENTS:
        if argument.name in NO_DEFAULT:
            continue
        kind, keywords = component(argument)
        label = "NegOpt ticked at start" if argument.name == "enabled" else f"{argument.option.label}, at start"
        del keywords["label"]
        info = host.OptionInfo(argument.default, label, kind, keywords, section=SECTION)
        host.add_setting(host.setting_of(argument), info.info(argument.option.help).needs_reload_ui())
