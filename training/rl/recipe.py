"""Settings of an RL run, and their presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from negopt.errors import OptionError

from .learner import Learning

Algorithm = Literal["critic", "group", "ppo"]


@dataclass(frozen=True)
class Recipe:
    """All that a run's result depends on, besides model, prompts, checkpoint and judges."""

    algorithm: Algorithm = "group"
    """"critic": what each term adds is regressed on all pictures of the run, lists are tried out that may be best by
    what is known so far, and the network is taught those that most likely are. "group": each draw against the others of
    its prompt. Both on the same initial noise for all draws of a prompt. "ppo", the paper's: one draw a prompt against
    a value head, each on noise of its own."""
    steps: int = 200
    prompts: int = 8
    """Prompts in a step."""
    copies: int = 8
    """Draws for each prompt; 1 in PPO."""
    max_terms: int = 12
    weights: Mapping[str, float] = field(default_factory=lambda: {"aesthetics": 1.0, "alignment": 1.0, "fidelity": 1.0})
    """What each judge counts in the reward."""
    preferences: bool = False
    """Learn for every weighting at once, of the judges that `weights` gives more than 0: what each counts is drawn for
    each prompt, and the network is told."""
    warm_up: int = 16
    """Batches of pictures of the first policy from which the rewards get their units."""
    kl_target: float = 6.0
    """Nats a draw may move away from the first policy, towards which PPO's weight of the divergence adapts."""
    kl_limit: float = 60.0
    """Nats a draw at which the policy counts as collapsed."""
    discount: float = 1.0
    decay: float = 0.95
    """GAE's lambda."""
    seed: int = 0
    learning: Learning = field(default_factory=Learning)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The judges that count."""
        return tuple(name for name, weight in self.weights.items() if weight)

    def __post_init__(self) -> None:
        if min(self.steps, self.prompts, self.warm_up, self.max_terms) < 1:
            raise OptionError("steps, prompts, warm-up and max-terms must be at least 1")
        if self.algorithm != "ppo" and self.copies < 2:
            raise OptionError("a group needs at least 2 copies of each prompt: they are compared with each other")
        if self.preferences and len(self.metrics) < 2:
            raise OptionError("preferences need at least 2 metrics in the reward to choose between")


TEACHING = Learning(epochs=1, minibatches=4)
"""How a critic's policy learns: what it is taught is new in each step, so each is used once."""
CRITIC = Recipe(algorithm="critic", steps=100, prompts=32, copies=4, warm_up=2, kl_limit=300.0, learning=TEACHING)
"""A step asks for twice as many pictures as a group's, of four times as many prompts: what is known of one speaks of
others, too. What is taught is far from what people write, and stays in the language all the same."""

PRESETS = {
    "group": Recipe(),
    "critic": CRITIC,
    # PPO as people run it on language models, the paper's setting: one draw a prompt, four epochs.
    "paper": Recipe(algorithm="ppo", prompts=64, copies=1, learning=Learning(learning_rate=1.41e-5, kl_weight=0.2)),
    # The miniature's policy is a hundredth of T5's size and takes larger steps.
    "miniature": replace(CRITIC, steps=110, max_terms=6, learning=replace(TEACHING, learning_rate=2e-3)),
    "miniature-group": Recipe(steps=220, prompts=32, copies=2, warm_up=4, learning=Learning(learning_rate=2e-4)),
    "miniature-ppo": Recipe(
        algorithm="ppo", prompts=64, copies=1, warm_up=4, learning=Learning(learning_rate=3e-4, kl_weight=0.2)
    ),
}
