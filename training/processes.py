"""Several processes, on one machine or more, make the pictures of one run: `accelerate launch -m training rl ...`.

The first process leads: it alone draws, learns and writes. New pictures are dealt out evenly; each process makes its
part with a checkpoint of its own on a GPU of its own and shows them to judges of its own, and what these saw, a few
numbers a picture, goes back. The update is therefore that of a single process, however many there are: no gradient
travels, nothing can drift apart between machines, and a checkpoint does not know how many made it. Were the update
computed everywhere, it would take just as long; shared gradients would pay for a policy that is large beside the
checkpoint that paints, and it is a few million weights beside a billion.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import torch

from negopt.errors import ModelError, NegOptError, OptionError
from training.rewards.weighted import Observed
from training.rl.gallery import Gallery, Look
from training.samplers import Picture

PATIENCE = timedelta(days=1)
"""How long a process waits for another that lives; one that has ended is noticed at once."""

Answer = TypeVar("Answer")


class Crew:
    """The processes of a run, `size` of them, of which this one is number `place`."""

    def __init__(self, place: int = 0, size: int = 1) -> None:
        self.place, self.size = place, size
        self._between = True
        """Do all processes wait for what to do next?"""

    @property
    def leads(self) -> bool:
        return self.place == 0

    @contextmanager
    def sharing(self, gallery: Gallery) -> Iterator[None]:
        """Inside, the leader's `gallery` has its pictures made by all. The others work here, with the sampler and the
        judges of their own `gallery`, until the leader is done, and only then enter."""
        if self.size == 1:
            yield
        elif self.leads:
            alone = gallery.look
            gallery.look = partial(self._lead, alone)
            try:
                yield
            finally:
                gallery.look = alone
                if self._between:
                    self._announce(None)
        else:
            while (pictures := self._announce(None)) is not None:
                self._share(gallery.look, pictures)
            yield

    def _lead(self, look: Look, pictures: Sequence[Picture]) -> Observed:
        self._between = False
        self._announce(pictures)
        answers = self._share(look, pictures)
        self._between = True
        for place, answer in enumerate(answers):
            if isinstance(answer, str):
                raise ModelError(f"process {place}: {answer}")
        parts = [answer for answer in answers if isinstance(answer, dict) and answer]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _share(self, look: Look, pictures: Sequence[Picture]) -> list[Observed | str]:
        """Look at this process's part; what all have seen, in order, or why one could not."""
        first, last = (len(pictures) * place // self.size for place in (self.place, self.place + 1))
        answer: Observed | str
        try:
            answer = look(pictures[first:last]) if first < last else {}
        except NegOptError as error:
            answer = str(error)
        from accelerate.utils import gather_object

        return _together(lambda: list(gather_object([answer])))

    def _announce(self, pictures: Sequence[Picture] | None) -> list[Picture] | None:
        """What the leader says, in every process: pictures to make, or None, the end."""
        from accelerate.utils import broadcast_object_list

        said = [None if pictures is None else list(pictures)]
        return _together(lambda: broadcast_object_list(said)[0])


def _together(exchange: Callable[[], Answer]) -> Answer:
    try:
        return exchange()
    except RuntimeError as error:
        raise ModelError("another process of this run has ended; what it printed says why") from error


@contextmanager
def join() -> Iterator[Crew]:
    """The crew that this process was started in, by `accelerate launch` or `torchrun`; alone without. Inside, "cuda"
    means the process's own GPU. Raises `OptionError` if the machine has fewer GPUs than processes."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Crew()
        return
    from accelerate import PartialState

    state = PartialState(cpu=True, timeout=PATIENCE)  # gloo: what travels lies on the CPU
    try:
        if torch.cuda.is_available():
            if state.local_process_index >= torch.cuda.device_count():
                raise OptionError(f"too many processes: this machine has {torch.cuda.device_count()} GPUs")
            torch.cuda.set_device(state.local_process_index)
        yield Crew(state.process_index, state.num_processes)
    finally:
        # Left open, the threads of the group are torn down with the interpreter, which at times aborts the process.
        torch.distributed.destroy_process_group()
