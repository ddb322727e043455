"""The RL stage: draw negatives, make their pictures, learn which were better; again and again.

Every random number of a step follows from (seed, step), so a run that was killed goes on from its last
checkpoint as if nothing had been. Knows neither who makes the pictures nor who judges them.
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import T5ForConditionalGeneration

import negopt
from negopt.errors import ModelError, OptionError
from negopt.generator import Generator
from negopt.locate import SETTINGS, TOKENIZER
from negopt.model_files import read_json
from negopt.rollout import Rollout
from training.atomic import recover_folder, replace_folder
from training.card import taught_card
from training.checkpoint import load_checkpoint, load_state, load_tensors, moment_names, save_checkpoint
from training.digest import digest_of_model, digest_of_texts
from training.export import write_model
from training.rewards.weighted import Observed
from training.samplers import Picture

from .advantages import generalized_advantages, group_advantages
from .aspects import Read
from .gallery import Gallery
from .learner import Expectations, Learner, as_generator
from .lessons import Lessons
from .logbook import Logbook, known_terms, written
from .losses import AdaptiveKL
from .policy import Draws, Policy, collate
from .preferences import draw_preferences, new_preferences, retold, reward_weights
from .recipe import Recipe
from .seeds import generator_of, seed_of

SECONDS_BETWEEN_CHECKPOINTS = 120.0
BEGUN_WITH = ("recipe", "sampler", "model", "prompts", "judges")
"""The parts of the state that may not change while a run goes on."""
CLOCKED = ("share_not_pictures", "pictures_a_second")
"""What a step measures of the time that it took: not the same when it is done again."""


class Stage:
    """One run: the policy that learns, and the state that a checkpoint keeps."""

    def __init__(
        self,
        model: Path,
        prompts: Sequence[str],
        gallery: Gallery,
        recipe: Recipe,
        out: Path,
        read: Read | None = None,
    ) -> None:
        """`model`: the folder of the SFT model. `prompts`: those to learn from; `OptionError` if there are too few.
        `read`: what prompts say, which a critic needs; `OptionError` if it has none."""
        if len(prompts) < recipe.prompts:
            raise OptionError(f"{len(prompts)} prompts are fewer than the {recipe.prompts} of one step")
        self.model, self.prompts, self.gallery, self.recipe, self.out = model, list(prompts), gallery, recipe, out
        loaded = negopt.load(model)
        self.policy = _policy(model, loaded, recipe)
        self.first = as_generator(self.policy, loaded)
        self.known = known_terms(self.first)
        self.learner = Learner(self.policy, copy.deepcopy(self.policy), recipe.learning)
        self.lessons = self._lessons(read)
        self.adaptive = AdaptiveKL(recipe.learning.kl_weight, recipe.kl_target)
        self.state: dict[str, Any] = {
            "recipe": _plain(asdict(recipe)),
            "sampler": _plain(dict(gallery.sampler.description)),
            "model": digest_of_model(model),
            "prompts": digest_of_texts(self.prompts),
            "judges": [*sorted(gallery.reward.judges), gallery.reward.origin],
            "step": 0,
            "seconds": 0.0,
            "settled": False,
            "history": [],
        }

    def _lessons(self, read: Read | None) -> Lessons | None:
        if self.recipe.algorithm != "critic":
            return None
        if read is None:
            raise OptionError("a critic needs to read the prompts: nobody was named who does")
        return Lessons(self.recipe, self.prompts, self.first, self.learner, read)

    def run(self) -> list[dict[str, float]]:
        """Learn to the end, and write the model to OUT/model; what each step measured."""
        self.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        began, saved = time.monotonic() - self.state["seconds"], time.monotonic()
        if not self.gallery.reward.normal:
            self._warm_up()
            self._save()
        with Logbook(self.out, self.gallery.sampler, self.prompts, self.recipe.steps, self.state["step"]) as log:
            if self.state["step"] == 0:
                log.sheet(0, self._write)
            while self.state["step"] < self.recipe.steps:
                measured = self._step(self.state["step"])
                self._check(measured)
                self.state["step"] += 1
                self.state["seconds"] = time.monotonic() - began
                self.state["history"].append(measured)
                log.step(self.state["step"], measured, self._write)
                if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self._save()
                    saved = time.monotonic()
            if self.lessons and not self.state["settled"]:
                self.lessons.settle()
                self.state["settled"] = True
                log.sheet(self.state["step"], self._write)  # in place of what it was before
        self._save()
        self._export()
        history: list[dict[str, float]] = self.state["history"]
        return history

    def _step(self, step: int) -> dict[str, float]:
        """Draw, look, learn."""
        recipe = self.recipe
        began, made = time.monotonic(), self.gallery.made
        prompts, groups = self._draw(step)
        drawn = [rollout for group in groups for rollout in group]
        looking = time.monotonic()
        observed = self._look(self._pictures(prompts, groups, step))
        looked = time.monotonic()
        self.gallery.reward.learn(observed)
        reward = self.gallery.reward(observed)
        self.gallery.forget(recipe.warm_up * recipe.prompts * recipe.copies)  # only the warm-up's are asked for again
        draws = collate(drawn, self.policy.writable)
        shuffle = generator_of(recipe.seed, step, "shuffle")
        total = self.gallery.reward.combine(reward.parts, self._weights(draws))
        pace = 1 - step / recipe.steps  # the last steps settle what the first found: noise of a step is averaged out
        if self.lessons:
            measured = self.lessons.learn(prompts, drawn, self.gallery.reward.in_units(reward.parts), step)
        elif recipe.algorithm == "group":
            measured = self._learn_by_groups(draws, reward.parts, shuffle, pace)
        else:
            measured = self._learn_by_values(draws, total, shuffle, pace)
        measured |= written(drawn, self.known)
        measured |= {"reward": total.mean().item(), "pictures": float(self.gallery.made)}
        measured |= {name: part.mean().item() for name, part in reward.parts.items()}
        measured["made_anew"] = (self.gallery.made - made) / len(drawn)
        measured["pictures_a_second"] = (self.gallery.made - made) / max(looked - looking, 1e-9)
        measured["share_not_pictures"] = 1 - (looked - looking) / max(time.monotonic() - began, 1e-9)
        return measured

    def _look(self, pictures: Sequence[Picture], title: str | None = None) -> Observed:
        """Where it takes longest, it is stopped most often: by the user, or by servers that are gone for good. What was
        seen until then is kept."""
        try:
            return self.gallery.observe(pictures, title)
        except (ModelError, KeyboardInterrupt):
            self._save()
            raise

    def _weights(self, draws: Draws) -> Mapping[str, float | torch.Tensor]:
        """What each metric counts: as the recipe says, or as each draw's own preference does."""
        if not self.recipe.preferences:
            return self.recipe.weights
        return reward_weights(draws.shares, self.policy.metrics)

    def _learn_by_groups(
        self, draws: Draws, parts: Mapping[str, torch.Tensor], shuffle: torch.Generator, pace: float
    ) -> dict[str, float]:
        """Each draw against the others of its prompt."""
        groups = (self.recipe.prompts, self.recipe.copies)
        tellings = list(retold(draws, self.policy)) if self.recipe.preferences else [(draws, torch.ones(len(draws)))]
        advantages = []
        for told, counts in tellings:
            total = self.gallery.reward.combine(parts, self._weights(told))
            advantages.append(group_advantages(total.view(groups)).flatten() * counts)
        joined = Draws.joined([told for told, _ in tellings])
        return self.learner.update(joined, torch.cat(advantages).unsqueeze(1), shuffle, pace=pace)

    def _learn_by_values(
        self, draws: Draws, rewards: torch.Tensor, shuffle: torch.Generator, pace: float
    ) -> dict[str, float]:
        """PPO: the reward comes with the last step, what the divergence costs with each."""
        recipe = self.recipe
        now, first = self.learner.score(draws)
        assert now.values is not None
        moved = (draws.log_probs - first.log_probs) * draws.mask
        given = -self.adaptive.weight * moved
        last = draws.mask.sum(1) - 1
        given[torch.arange(len(draws)), last] += rewards
        advantages, returns = generalized_advantages(given, now.values, draws.mask, recipe.discount, recipe.decay)
        inside = advantages[draws.mask]
        advantages = torch.where(draws.mask, (advantages - inside.mean()) / inside.std().clamp(min=1e-6), 0.0)
        expected = Expectations(now.values, returns)
        measured = self.learner.update(draws, advantages, shuffle, expected, kl_weight=0.0, pace=pace)
        self.adaptive.update(moved.sum(1).mean().item(), len(draws))
        return measured | {"kl_weight": self.adaptive.weight}

    def _drawing(self, step: int) -> Generator:
        """Who draws: the first policy as long as the warm-up has its pictures (what that one would not draw any more
        counts less, as in any later epoch), then what has become of it."""
        if step < self.recipe.warm_up:
            return self.first
        return as_generator(self.policy, self.first)

    def _draw(self, step: int) -> tuple[list[str], list[list[Rollout]]]:
        """The prompts of a step, and the draws for each."""
        recipe = self.recipe
        prompts = random.Random(f"{recipe.seed}/{step}/prompts").sample(self.prompts, recipe.prompts)
        prefer = None
        if recipe.preferences:
            prefer = draw_preferences(recipe.seed, step, recipe.prompts, recipe.metrics)
        if self.lessons and step >= recipe.warm_up:
            return prompts, self.lessons.lists(prompts, prefer, step)
        seeds = [
            [seed_of(recipe.seed, step, f"draw {row} {copy}") for copy in range(recipe.copies)]
            for row in range(recipe.prompts)
        ]
        drawing = self._drawing(step)
        return prompts, drawing.draw(prompts, seeds, prefer=prefer, max_terms=recipe.max_terms, max_tokens=0)

    def _pictures(self, prompts: Sequence[str], groups: Sequence[Sequence[Rollout]], step: int) -> list[Picture]:
        """All draws of a prompt on the same initial noise: what differs is the negative's doing."""
        return [
            Picture(prompt, rollout.answer.text, seed_of(self.recipe.seed, step, f"noise {row}") % 2**31)
            for row, (prompt, group) in enumerate(zip(prompts, groups, strict=True))
            for rollout in group
        ]

    def _write(self, prompts: Sequence[str]) -> list[str]:
        """What the policy would answer now."""
        generator = as_generator(self.policy, self.first)
        answers = generator.generate_batch(prompts, max_terms=self.recipe.max_terms, max_tokens=0)
        return [answer.text for answer in answers]

    def _warm_up(self) -> None:
        """Pictures of the first policy give the rewards their units. They are those of the first steps, which so have
        theirs already."""
        pictures = []
        for step in range(self.recipe.warm_up):
            pictures += self._pictures(*self._draw(step), step)
        self.gallery.reward.warm_up(self._look(pictures, "warm-up"))

    def _check(self, measured: dict[str, float]) -> None:
        """A policy that has left the language must not overwrite the checkpoint that still had it."""
        moved = measured["kl"] * (measured["terms"] + 1)
        if not all(map(torch.isfinite, map(torch.tensor, measured.values()))) or moved > self.recipe.kl_limit:
            raise ModelError(
                f"the policy has collapsed at step {self.state['step']} ({moved:.1f} nats a draw away from the first); "
                f"the last good checkpoint is {self.out / 'checkpoint'}; lower the learning rate or raise the KL weight"
            )

    def _save(self) -> None:
        self.state["moments"] = moment_names(self.learner.optimizer)
        seen = self.gallery.state_dict()
        reward = self.gallery.reward.state_dict()
        tensors = {f"seen|{name}": rows for name, rows in seen.pop("seen").items()}
        if self.lessons:
            tensors |= {f"critic|{name}": value for name, value in self.lessons.state_dict().items()}
        for judge, kept in reward.pop("judges").items():
            tensors |= {f"judge|{judge}|{name}": value for name, value in kept.items()}
        state = {**self.state, "gallery": seen, "reward": reward, "kl_weight": self.adaptive.weight}
        save_checkpoint(self.out / "checkpoint", self.policy, self.learner.optimizer, state, tensors)

    def _resume(self) -> None:
        """Go on from OUT/checkpoint where there is one; raises `OptionError` if it was begun with anything else."""
        folder = self.out / "checkpoint"
        recover_folder(folder)
        if not folder.exists():
            return
        begun = load_state(folder)
        # get: what older checkpoints do not say cannot be known to be the same
        if others := [name for name in BEGUN_WITH if begun.get(name) != self.state[name]]:
            raise OptionError(
                f"{folder} was begun with other settings (not the same {' and '.join(others)}); "
                "use another --out or delete it"
            )
        state = load_checkpoint(folder, self.policy, self.learner.optimizer)
        tensors = load_tensors(folder)
        self.gallery.load_state_dict({**state.pop("gallery"), "seen": _of("seen", tensors)})
        if self.lessons:
            self.lessons.load_state_dict(_of("critic", tensors))
        judges: dict[str, dict[str, Any]] = {name: {} for name in self.gallery.reward.judges}
        for name, value in tensors.items():
            if name.startswith("judge|"):
                _, judge, key = name.split("|")
                judges[judge][key] = value
        self.gallery.reward.load_state_dict({**state.pop("reward"), "judges": judges})
        self.adaptive.weight = state.pop("kl_weight")
        self.state = state

    def _export(self) -> None:
        """The policy as a model folder, OUT/model, with the settings of the one it began as."""
        file = self.model / SETTINGS
        settings = read_json(file) if file.is_file() else {}  # a T5 of others' making has none
        with replace_folder(self.out / "model") as fresh:
            write_model(
                fresh, self.policy.network, self.model / TOKENIZER, settings, preferences=self.policy.preferences
            )
            begun_as = f"{self.model.parent.name}/{self.model.name}"
            card = taught_card(self.state, begun_as, self.policy.network.config.to_dict())
            (fresh / "README.md").write_text(card, encoding="utf-8")


def _of(kind: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.split("|")[1]: value for name, value in tensors.items() if name.startswith(f"{kind}|")}


def _policy(model: Path, generator: Generator, recipe: Recipe) -> Policy:
    network = T5ForConditionalGeneration.from_pretrained(model, use_safetensors=True, dtype=torch.float32)
    writable = generator.network.writable
    if writable is None:
        writable = torch.arange(generator.network.config.vocab_size)
    preferences = generator.preferences
    if recipe.preferences and preferences is None:
        preferences = new_preferences(network, recipe.metrics)
    if recipe.preferences and preferences and set(preferences.metrics) != set(recipe.metrics):
        raise OptionError(
            f"{model}: knows preferences between {', '.join(preferences.metrics)}, not {', '.join(recipe.metrics)}"
        )
    return Policy(network, writable, generator.settings.anchor, recipe.algorithm == "ppo", preferences)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain
