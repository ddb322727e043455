"""A1111's styles.csv: `name,prompt,negative_prompt`, one saved style a row.

Knows which files are style files; how a CSV is read safely is `tables`' business.
"""

from __future__ import annotations

from pathlib import Path

from ..columns import plain_name

_STYLE_COLUMNS = {"name", "prompt", "negativeprompt"}


def is_style_table(path: Path, names: list[str]) -> bool:
    """Whether a table of these columns holds styles: A1111's own three columns, or a file named so."""
    plain = {plain_name(name) for name in names if name}
    return plain == _STYLE_COLUMNS or ("style" in path.name.lower() and "name" in plain)
