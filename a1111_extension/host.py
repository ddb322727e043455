"""What AUTOMATIC1111 and Forge provide. The only file of this room that touches the hosts' modules.

What one of them lacks is looked for where it is used, so that forks with less still load the extension.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from modules import paths, script_callbacks, scripts, shared

from ..negopt.clip_tokens import ClipTokenCounter, estimate_tokens
from ..negopt.errors import ModelError, OptionError
from ..negopt.options import Value
from ..negopt.paths import expanded
from .arguments import Argument
from .writer import Writer

log = logging.getLogger(__name__)

Script: Any = scripts.Script
AlwaysVisible = scripts.AlwaysVisible
OptionInfo = shared.OptionInfo

MODELS_FOLDER, RECORD_FILE = "negopt_models_folder", "negopt_record_file"
"""Keys of the settings page, besides one for each control's default."""

DOOR = Path(__file__).resolve().parent.parent / "scripts" / "negopt_script.py"
_CLIP_VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"


def listen(event: str, callback: Callable[..., None]) -> None:
    """Call `callback` at an event of the host's start: "ui_settings", "before_ui" or "app_started".

    The hosts' own `on_...` look for their caller's file in the whole call stack, with its source, which takes
    40 ms a call; where the host takes the file's name, it is told.
    """
    add = getattr(script_callbacks, "add_callback", None)
    if add is not None and "filename" in signature(add).parameters:
        add(script_callbacks.callback_map[f"callbacks_{event}"], callback, category=event, filename=str(DOOR))
    else:
        getattr(script_callbacks, f"on_{event}")(callback)


def add_setting(key: str, info: Any) -> None:
    """Add an entry to the settings page."""
    shared.opts.add_option(key, info)


def lets_paths_be_set() -> bool:
    """Whether folders and files may be named on the settings page; --hide-ui-dir-config says no, for the API, too."""
    return not getattr(shared.cmd_opts, "hide_ui_dir_config", False)


def setting_of(argument: Argument) -> str:
    """The key of the setting that holds a control's default."""
    return f"negopt_{argument.name}"


def default_of(argument: Argument) -> Value:
    """A control's default: the settings page's, where that is right, else the definition's."""
    try:
        return argument.check(getattr(shared.opts, setting_of(argument), None))
    except OptionError as error:
        log.warning("NegOpt: in the settings, %s", error)
        return argument.default


def comments_enabled() -> bool:
    """Whether the host takes `# comments` out of prompts."""
    return bool(getattr(shared.opts, "enable_prompt_comments", False))


def writer() -> Writer:
    """What writes here, with the settings as they are now."""
    folder = str(getattr(shared.opts, MODELS_FOLDER, "") or "").strip()
    own = [expanded(folder)] if folder else []
    record = str(getattr(shared.opts, RECORD_FILE, "") or "").strip()
    return Writer(
        folders=[*own, Path(paths.models_path) / "negopt"],
        count_tokens=count_tokens,
        embedding_name=embedding_name,
        record_file=Path(paths.data_path, expanded(record)) if record else None,
    )


def count_tokens(text: str) -> int:
    """CLIP's tokens in a text, by the vocabulary of the host's own CLIP package; an estimate without one."""
    return _token_counter()(text)


@lru_cache(maxsize=1)
def _token_counter() -> Callable[[str], int]:
    """Read at the first text, not at start-up."""
    for package in ("open_clip", "clip"):
        spec = find_spec(package)
        file = Path(spec.origin).parent / _CLIP_VOCABULARY if spec and spec.origin else None
        if file and file.is_file():
            try:
                return ClipTokenCounter.from_bpe_file(file).count
            except ModelError as error:
                log.debug("NegOpt: %s", error)
    return estimate_tokens


def embedding_name(name: str) -> str | None:
    """The name of a loaded textual inversion as its file spells it; None if none is loaded by that name."""
    return next((loaded for loaded in _loaded_embeddings() if loaded.lower() == name.lower()), None)


def _loaded_embeddings() -> Mapping[str, Any]:
    """The textual inversions that fit the loaded checkpoint, by name."""
    for database in (_a1111_embeddings, _forge_embeddings):
        try:
            return database().word_embeddings
        except (ImportError, AttributeError):
            continue
    return {}


def _a1111_embeddings() -> Any:
    if find_spec("modules.sd_hijack") is None or find_spec("modules_forge") is not None:
        raise ImportError
    from modules import sd_hijack

    return sd_hijack.model_hijack.embedding_db


def _forge_embeddings() -> Any:
    model = shared.sd_model
    engine = getattr(model, "text_processing_engine", None) or model.text_processing_engine_l
    return engine.embeddings


def styled(prompt: str, negative: str, styles: list[str]) -> tuple[str, str]:
    """Both prompts with the chosen styles applied."""
    if not styles:
        return prompt, negative
    book = shared.prompt_styles
    return book.apply_styles_to_prompt(prompt, styles), book.apply_negative_styles_to_prompt(negative, styles)


def input_accordion() -> Any:
    """The accordion with a checkbox in its header; None where the host has none."""
    try:
        from modules.ui_components import InputAccordion
    except ImportError:
        return None
    return InputAccordion


def refresh_button(component: Any, choices: Callable[[], list[str]], elem_id: str) -> None:
    """A small button beside a dropdown that reads its choices anew."""
    from modules.ui_common import create_refresh_button

    create_refresh_button(component, lambda: None, lambda: {"choices": choices()}, elem_id)


def xyz_grid() -> ModuleType | None:
    """The module of the X/Y/Z script that the host runs; importing it by name gives another copy."""
    return next((data.module for data in scripts.scripts_data if Path(data.path).name == "xyz_grid.py"), None)


def serves_api() -> bool:
    """Whether the host was started with its API, in a form whose credentials are known here."""
    return bool(getattr(shared.cmd_opts, "api", False) or getattr(shared.cmd_opts, "nowebui", False)) and hasattr(
        shared.cmd_opts, "api_auth"
    )


def api_credentials() -> dict[str, str]:
    """User names and passwords of `--api-auth`; none when it was not given."""
    given = shared.cmd_opts.api_auth or ""
    return dict(pair.split(":", 1) for pair in given.split(",") if ":" in pair)
