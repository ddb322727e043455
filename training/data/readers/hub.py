"""A Hugging Face data set by its id, streamed: nothing is downloaded whole.

The default is the Negative Prompts DB of Ogezi and Shi 2024 (Optimizing Negative Prompts for Enhanced
Aesthetics and Fidelity in Text-To-Image Generation), whose columns are `prompt` and `negative_prompt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from negopt.errors import DataError

from ..columns import has_pair, pair_from_record
from ..pairs import RawPair, ReadLog

DEFAULT_ID = "mikeogezi/negopt_full"


def read_hub(name: str, log: ReadLog) -> Iterator[RawPair]:
    """The pairs of all splits of data set `name` (or of a local folder laid out like one).

    Raises `DataError` where it cannot be opened or read on, or has no prompt and negative columns.
    """
    yielded = False
    for record in _records(name):
        pair = pair_from_record(record, source=name)
        if pair is None:
            log.without_pair += 1
            if not yielded and log.without_pair >= 1000 and not has_pair(list(record)):
                break
        else:
            yielded = True
            yield pair
    if not yielded:
        raise DataError(f"the data set {name} has no prompt and negative prompt columns")


def _records(name: str) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    try:
        splits: dict[str, Iterable[dict[str, Any]]] = load_dataset(name, streaming=True)
        for split in splits.values():
            yield from split
    except Exception as error:  # the library raises whatever its many parts raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise DataError(
            f"cannot read the data set {name} from the Hugging Face Hub: {reason}. Check the id and the "
            "network, or download it elsewhere and give its folder or files instead"
        ) from error
