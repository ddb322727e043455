"""What every reader hands over: one prompt with its negative prompt, and what went wrong on the way.

Knows nothing about files, cleaning or the store; the readers fill these two classes, the build reads them.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from dataclasses import dataclass, field, replace

log = logging.getLogger(__name__)

KINDS = ("gallery", "style", "infotext", "workflow", "other")
_NAMED_AT_MOST = 100
# Half of a character: from a cut-off JSON escape, or a byte of a file's name that is no UTF-8.
_HALF = re.compile("[\ud800-\udfff]")


class Unreadable(Exception):
    """One file, or the rest of it, cannot be read; the text says why. Never leaves the readers."""


@dataclass(frozen=True)
class RawPair:
    """A pair as somebody wrote it, untouched.

    `page` names the author, page or file it stood on, or is None where the source names none.
    `kind` is one of `KINDS`. `licence` is "unknown" where the source states nothing.
    """

    prompt: str
    negative: str
    source: str
    page: str | None = None
    kind: str = "other"
    licence: str = "unknown"
    model_written: bool = False


@dataclass
class ReadLog:
    """Counts of what the readers saw: files and records read, and those skipped with the reason.

    Every bad file is counted; the first hundred are also kept by name, so that memory stays bounded.
    """

    files: int = 0
    skipped_files: int = 0
    bad_records: int = 0
    without_pair: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def skip_file(self, name: str, reason: str) -> None:
        """Note a file that could not be read (or not to its end)."""
        name, reason = encodable(name), encodable(reason)
        self.skipped_files += 1
        self.reasons[reason] += 1
        if len(self.named) < _NAMED_AT_MOST:
            self.named.append((name, reason))
        log.warning("skipped %s: %s", name, reason)

    def bad_record(self, name: str, reason: str) -> None:
        """Note a record inside a readable file that is not what the format promises."""
        self.bad_records += 1
        log.debug("%s: %s", name, reason)


def encodable(text: str) -> str:
    """`text` with U+FFFD for each half of a character: no file, store or terminal takes one."""
    return _HALF.sub("\ufffd", text)


def encodable_pair(pair: RawPair) -> RawPair:
    """The pair with all its strings `encodable`."""
    return replace(
        pair,
        prompt=encodable(pair.prompt),
        negative=encodable(pair.negative),
        source=encodable(pair.source),
        page=None if pair.page is None else encodable(pair.page),
        licence=encodable(pair.licence),
    )


def page_id(*names: str) -> str:
    """Twelve hexadecimal digits that stand for an author or page, so that no name or path is published."""
    return hashlib.blake2b("\x1f".join(names).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
