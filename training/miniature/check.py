"""Is the miniature fit for learning negative prompts? The gates that it passes before any RL.

    python -m training miniature check DIR

Reward is the sum of aesthetics, alignment and fidelity, each less its mean and over its standard deviation
on plain prompts without a negative. Differences are between pictures of the same prompt and the same
initial noise; a standard error is that over prompts, whose seeds are averaged first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.atomic import write_text
from training.evaluation.search import Terms, Trial, beam_search, racing

from .captions import BAD, PLACE_NAMES, STYLE_NAMES, article, prompt
from .judges import CLASSES, Judges, open_judges
from .pipeline import make_pictures, open_sampler
from .stage import rng_of
from .world import DEFECTS, OWN_DEFECT, STYLE_CHARM, STYLES, SUBJECTS, draw_scene

Array = NDArray[np.float64]

CHECK_SEED = 3
"""World seed of the prompts: not one that anything learned from."""
ALL_DEFECTS = ", ".join(defect.names[0] for defect in DEFECTS.values())
SEARCHED = (*(defect.names[0] for defect in DEFECTS.values()), *(names[0] for names in STYLE_NAMES.values()), *BAD)
"""Terms among which lists are searched."""


@dataclass(frozen=True)
class Gate:
    """One question, the answer with its standard error, and whether that passes."""

    name: str
    value: float
    error: float
    passed: bool
    detail: str = ""

    def __str__(self) -> str:
        mark = "pass" if self.passed else "FAIL"
        return f"{mark}  {self.name}: {self.value:.3f} ± {self.error:.3f}  {self.detail}".rstrip()


class Arena:
    """A checkpoint and its judges: prompts and negatives in, rewards out. Each picture is made once."""

    def __init__(self, folder: Path):
        self.sampler = open_sampler(folder / "checkpoint")
        self.judges: Judges = open_judges(folder / "judges")
        self.made = 0

    def pictures(self, prompts: Sequence[str], negative: Sequence[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        self.made += len(prompts)
        return make_pictures(self.sampler, prompts, negative, seeds)

    def calibrate(self, prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """Set the means and deviations by plain prompts without a negative; returns their pictures."""
        pictures = self.pictures(prompts, [""] * len(prompts), seeds)
        self.usual = self.judges.classes(pictures).mean(0)
        parts = self._parts(pictures, prompts)
        self.mean, self.deviation = parts.mean(0), parts.std(0)
        return pictures

    def rewards(self, prompts: Sequence[str], negatives: Sequence[str], seeds: Sequence[int]) -> Array:
        """One for each picture."""
        parts = self._parts(self.pictures(prompts, negatives, seeds), prompts)
        total: Array = ((parts - self.mean) / self.deviation).sum(1)
        return total

    def _parts(self, pictures: NDArray[np.uint8], prompts: Sequence[str]) -> Array:
        """Aesthetics, alignment, fidelity: (n, 3)."""
        seen = self.judges.classes(pictures).clip(1e-9)
        fidelity = (seen * np.log(seen / self.usual.clip(1e-9))).sum(1)
        return np.stack([self.judges.aesthetics(pictures), self.judges.alignment(pictures, prompts), fidelity], axis=1)

    def mean_rewards(self, prompts: Sequence[str], negatives: Sequence[str], seeds: Sequence[int]) -> Array:
        """One for each prompt with its negative, the mean over all `seeds`."""
        repeat = len(seeds)
        every = [text for text in prompts for _ in range(repeat)]
        against = [text for text in negatives for _ in range(repeat)]
        return self.rewards(every, against, list(seeds) * len(prompts)).reshape(-1, repeat).mean(1)


def check(folder: Path, prompts: int = 64, report: Path | None = None, quick: bool = False) -> bool:
    """Ask all questions of the miniature in `folder`; prints the answers. Returns whether all pass.

    `quick` leaves out the search, for which most of the pictures are made.
    """
    arena = Arena(folder)
    wishes = [prompt(draw_scene(CHECK_SEED, i), rng_of(CHECK_SEED, i, 1)) for i in range(prompts)]
    gates = []
    asks = [_recognised, _plain_is_spoilt, _own_defect_halves, _all_defects_do_no_harm, _style_words]
    for ask in asks if quick else [*asks, _search_wins]:
        for gate in ask(arena, wishes):
            gates.append(gate)
            print(gate, flush=True)
    if report:
        write_text(report, json.dumps([vars(gate) for gate in gates], indent=1) + "\n")
    return all(gate.passed for gate in gates)


def _recognised(arena: Arena, wishes: Sequence[str]) -> list[Gate]:
    """Does the classifier see the subject and the style that were asked for?"""
    count = 8
    subjects = [f"{subject}, {STYLE_NAMES[style][0]}" for subject in SUBJECTS for style in STYLES]
    pictures = arena.pictures(
        [text for text in subjects for _ in range(count)],
        [""] * len(subjects) * count,
        list(range(count)) * len(subjects),
    )
    guess = arena.judges.classes(pictures).argmax(1)
    truth = np.repeat(np.arange(len(CLASSES)), count)
    gates = []
    for name, hit, bar in (
        ("subject recognised on generated pictures", guess // len(STYLES) == truth // len(STYLES), 0.85),
        ("style recognised on generated pictures", guess % len(STYLES) == truth % len(STYLES), 0.85),
    ):
        by_class = hit.reshape(-1, count).mean(1)
        value, error = _mean(by_class)
        gates.append(Gate(name, value, error, value >= bar, f"(at least {bar})"))
    return gates


def _plain_is_spoilt(arena: Arena, wishes: Sequence[str]) -> list[Gate]:
    seeds = range(8)
    every = [text for text in wishes for _ in seeds]
    pictures = arena.calibrate(every, list(seeds) * len(wishes))
    found = (arena.judges.defect_rates(pictures) > 0.5).sum(1).reshape(-1, len(seeds)).mean(1)
    value, error = _mean(found)
    return [Gate("defects a picture of plain prompts", value, error, value >= 0.5, "(at least 0.5)")]


def _own_defect_halves(arena: Arena, wishes: Sequence[str]) -> list[Gate]:
    """Rates without and with the defect's name as the negative, on the same noise."""
    count, rates = 48, []
    for subject in SUBJECTS:
        name = OWN_DEFECT[subject]
        prompts = [f"a {subject}" if subject != "mountains" else subject] * count
        column = list(DEFECTS).index(name)
        pair = [
            (
                arena.judges.defect_rates(arena.pictures(prompts, [negative] * count, list(range(count))))[:, column]
                > 0.5
            )
            for negative in ("", DEFECTS[name].names[0])
        ]
        rates.append(np.stack(pair, axis=1))
    both = np.stack(rates).astype(np.float64)  # (subjects, seeds, without/with)
    without, with_it = both[..., 0].mean(), both[..., 1].mean()
    detail = ", ".join(f"{s} {r[:, 0].mean():.2f}->{r[:, 1].mean():.2f}" for s, r in zip(SUBJECTS, both, strict=True))
    if without == 0:
        return [Gate("own defect with its name as negative, of that without", 1.0, 0.0, False, detail)]
    ratio = float(with_it / without)
    residual = (both[..., 1] - ratio * both[..., 0]).ravel()
    error = float(residual.std(ddof=1) / np.sqrt(residual.size) / without)  # of a ratio of means (Cochran)
    return [Gate("own defect with its name as negative, of that without", ratio, error, ratio <= 0.5, detail)]


def _all_defects_do_no_harm(arena: Arena, wishes: Sequence[str]) -> list[Gate]:
    seeds = range(100, 108)
    value, error = _mean(
        arena.mean_rewards(wishes, [ALL_DEFECTS] * len(wishes), seeds)
        - arena.mean_rewards(wishes, [""] * len(wishes), seeds)
    )
    return [Gate("reward of the list of all defects, over none", value, error, value >= 0, "(at least 0)")]


def _style_words(arena: Arena, wishes: Sequence[str]) -> list[Gate]:
    """For each subject, the style that becomes it least: as a negative where no style is asked for, and
    where that very style is. Several prompts for each, since chance favours one place or another."""
    seeds = range(200, 208)
    worst = {subject: STYLES[int(np.argmin(STYLE_CHARM[subject]))] for subject in SUBJECTS}
    words = [STYLE_NAMES[worst[subject]][0] for subject in SUBJECTS for _ in PLACE_NAMES]
    plain = [text for subject in SUBJECTS for text in _places(subject)]
    asked = [f"{text}, {word}" for text, word in zip(plain, words, strict=True)]
    gates = []
    for name, prompts, sign in (("not asked for", plain, 1), ("asked for", asked, -1)):
        gains = arena.mean_rewards(prompts, words, seeds) - arena.mean_rewards(prompts, [""] * len(prompts), seeds)
        value, error = _mean(gains)
        gates.append(
            Gate(
                f"reward of an unbecoming style's word as negative, {name}",
                value,
                error,
                sign * value > 2 * error,
                "(above 0)" if sign > 0 else "(below 0)",
            )
        )
    return gates


def _places(subject: str) -> list[str]:
    """ "a face on the beach", in every place. Without a colour, which says that black and white is not wanted."""
    words = subject if subject == "mountains" else f"{article(subject)} {subject}"
    return [f"{words} {names[0]}" for names in PLACE_NAMES.values()]


def _search_wins(arena: Arena, wishes: Sequence[str]) -> list[Gate]:
    """Both searched on the same prompts and seeds, by races whose last lap has all of these; both judged on others."""
    learn, judge, count = range(300, 308), range(400, 416), len(wishes)
    trials = [(text, seed) for text in wishes for seed in learn]
    rng_of(CHECK_SEED, count).shuffle(trials)
    laps = [max(1, count // 4), count, 2 * count, len(trials)]
    score = racing(_mean_over(arena, trials), laps)
    fixed = ", ".join(beam_search(score, SEARCHED, width=2, depth=5, shortlist=10)[0][1])
    found = []
    for text in tqdm(wishes, desc="search", unit="prompt", disable=None):
        score = racing(_mean_over(arena, [(text, seed) for seed in learn]), [1, 2, 4, len(learn)])
        found.append(", ".join(beam_search(score, SEARCHED, width=2, depth=4, shortlist=10)[0][1]))
    none = arena.mean_rewards(wishes, [""] * count, judge)
    best = arena.mean_rewards(wishes, [fixed] * count, judge)
    own = arena.mean_rewards(wishes, found, judge)
    over_none, error_none = _mean(best - none)
    value, error = _mean(own - best)
    return [
        Gate("reward of the best fixed list, over none", over_none, error_none, True, f"[{fixed}]"),
        Gate(
            "reward of a search for each prompt, over the best fixed list",
            value,
            error,
            value > 3 * error,
            f"(above 3 standard errors; {arena.made} pictures made in all)",
        ),
    ]


def _mean_over(arena: Arena, trials: Sequence[Trial]) -> Callable[[list[Terms], int], Array]:
    """A function of (lists, count) that gives each list's mean reward over the first `count` trials; no picture is made
    twice."""
    seen: dict[tuple[Terms, int], float] = {}

    def mean(lists: list[Terms], count: int) -> Array:
        if new := [(terms, place) for terms in lists for place in range(count) if (terms, place) not in seen]:
            prompts, seeds = zip(*(trials[place] for _, place in new), strict=True)
            rewards = arena.rewards(prompts, [", ".join(terms) for terms, _ in new], seeds)
            seen.update(zip(new, rewards.tolist(), strict=True))
        return np.array([[seen[terms, place] for place in range(count)] for terms in lists]).mean(1)

    return mean


def _mean(values: Array) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
