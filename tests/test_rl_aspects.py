"""What tells prompts apart: principal components against a decomposition by hand, and what does not matter to them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from negopt.errors import OptionError
from tests.tiny_policy import PROMPTS, read
from training.rl.aspects import MOST, SPREAD, Aspects

PLACES = {"north": [0.0, 1.0], "south": [0.0, -1.0], "east": [0.6, 0.8], "west": [-0.6, -0.8]}
"""On a circle: along y they differ more than along x."""


def placed(texts: Sequence[str]) -> torch.Tensor:
    return torch.tensor([PLACES[text] for text in texts])


def test_components_by_the_root_of_their_spread() -> None:
    aspects = Aspects(placed, list(PLACES))
    found = aspects(list(PLACES))
    scatter = placed(list(PLACES)).T @ placed(list(PLACES)) / len(PLACES)
    variances, axes = torch.linalg.eigh(scatter)  # the mean is 0
    expected = placed(list(PLACES)) @ axes.flip(1) / variances.flip(0) ** 0.25
    expected *= SPREAD / expected.square().sum(1).mean().sqrt()
    torch.testing.assert_close(found.abs(), expected.abs())
    assert found.square().sum(1).mean().sqrt().item() == pytest.approx(SPREAD)


def test_how_long_embeddings_are_does_not_matter() -> None:
    aspects, longer = (Aspects(look, list(PLACES)) for look in (placed, lambda texts: 7 * placed(texts)))
    torch.testing.assert_close(aspects(["east", "west"]).abs(), longer(["east", "west"]).abs())


def test_directions_in_which_nothing_differs_are_no_aspects() -> None:
    assert len(Aspects(lambda texts: torch.nn.functional.pad(placed(texts), (0, 5)), list(PLACES))) == 2
    alone = Aspects(placed, ["north"] * 3)
    assert alone(["north", "north"]).shape == (2, len(alone)) == (2, 0)


def test_there_are_not_too_many() -> None:
    numbers = torch.randn(300, 100, generator=torch.Generator().manual_seed(0))
    aspects = Aspects(lambda texts: numbers[[int(text) for text in texts]], [str(row) for row in range(300)])
    assert len(aspects) == MOST
    assert aspects(["0", "299"]).shape == (2, MOST)


def test_a_prompt_is_read_once_in_plain_words() -> None:
    seen: list[str] = []

    def counted(texts: Sequence[str]) -> torch.Tensor:
        seen.extend(texts)
        return read(texts)

    aspects = Aspects(counted, ["a (face:1.2)", *PROMPTS[1:], PROMPTS[1]])
    aspects([PROMPTS[1], PROMPTS[1]])
    assert seen == PROMPTS


def test_aspects_survive_a_checkpoint() -> None:
    """Components with another sign would be of no use to what was learned of these."""
    one, other = Aspects(read, PROMPTS), Aspects(lambda texts: -read(texts), PROMPTS)
    before = one(PROMPTS)
    assert not torch.equal(before, other(PROMPTS))
    other.load_state_dict(one.state_dict())
    assert torch.equal(before, other(PROMPTS))
    with pytest.raises(OptionError, match="begun with other prompts"):
        Aspects(read, PROMPTS[:3]).load_state_dict(one.state_dict())
