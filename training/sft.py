"""Supervised fine-tuning: learn to write the negative prompts that people write.

    python -m training sft --data DIR --base mini --out DIR

reads the data set that `data build` made, builds the vocabulary (or takes the base model's own),
trains, validates once an epoch, stops when the likelihood no longer rises, and writes the best weights
as a model folder that `negopt.load` and `T5ForConditionalGeneration.from_pretrained` both open.

Every step is a function of (seed, step): batches, orders of terms, dropout. `OUT/checkpoint` holds the
rest, so the same command after a kill goes on and ends with the same weights. Several processes or
GPUs: `accelerate launch -m training sft ...`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import T5ForConditionalGeneration

import negopt
from negopt.errors import DataError, OptionError
from negopt.locate import TOKENIZER, locate
from negopt.tokenizer import TermTokenizer
from training.allocator import keep_freed_memory
from training.atomic import recover_folder, replace_folder, write_text
from training.card import model_card
from training.checkpoint import load_checkpoint, load_state, load_weights, moment_names, save_checkpoint
from training.data.dataset import files_of, load_split
from training.digest import digest_of_files, digest_of_model
from training.examples import Batch, Schedule, count_terms, encode_rows
from training.export import learn_settings, write_model
from training.model import PairLoss, new_network, pretrained_network, start_from_meanings
from training.recipes import PRESETS, Recipe
from training.scoring import score
from training.vocabulary import PLANS, VocabularySize, build_vocabulary

LENGTHS = (5, 10, 15, 20, 25, 30, 40)
"""Numbers of terms among which the usual length of a list is chosen."""
ANCHOR = 1.0
"""How far a model of free order judges each term on its own (see `negopt.decoding.decode`)."""
F1_ROWS = 400
"""Rows of the validation split on which term F1 is followed during training."""
SECONDS_BETWEEN_CHECKPOINTS = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "What is not given is the preset's: training/recipes.py."
    parser.add_argument("--data", type=Path, required=True, help="a data set folder from `data build`")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder; the model goes to OUT/model")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="mini", help="set of defaults (mini)")
    parser.add_argument(
        "--base",
        help="mini (new network), negopt-mini (the bundled model), a T5 folder, or a Hub id such as google-t5/t5-small",
    )
    parser.add_argument("--order", choices=["free", "written"], help="is a negative prompt a set or a sequence")
    parser.add_argument("--epochs", type=int, help="0: a model that has learned nothing, for RL without SFT")
    parser.add_argument("--batch-size", type=int, help="pairs per optimizer step, over all processes")
    parser.add_argument("--accumulate", type=int, help="parts a batch is computed in, to save memory")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--weight-decay", type=float)
    parser.add_argument("--dropout", type=float)
    parser.add_argument("--embedding-rate", type=float, help="share of pairs that keep the embeddings named")
    parser.add_argument("--piece-embeddings", choices=["minilm", "random"], help="start of a new vocabulary")
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--patience", type=int, help="validations without progress before stopping")
    parser.add_argument("--d-model", type=int)
    parser.add_argument("--d-ff", type=int)
    parser.add_argument("--d-kv", type=int)
    parser.add_argument("--heads", type=int)
    parser.add_argument("--encoder-layers", type=int)
    parser.add_argument("--decoder-layers", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--limit", type=int, help="use only the first N training rows")


def run(args: argparse.Namespace) -> int:
    given = {name: value for name, value in vars(args).items() if name in _recipe_names()}
    recipe = PRESETS[args.preset].changed(**given)
    _check(recipe)
    keep_freed_memory()
    Training(recipe, args.data, args.out, limit=args.limit).run()
    return 0


def _recipe_names() -> set[str]:
    return set(Recipe.__dataclass_fields__) | set(type(Recipe().network).__dataclass_fields__)


def _check(recipe: Recipe) -> None:
    for name, least in (("epochs", 0), ("batch_size", 1), ("accumulate", 1), ("patience", 1)):
        if getattr(recipe, name) < least:
            raise OptionError(f"--{name.replace('_', '-')} must be at least {least}")
    if recipe.batch_size % recipe.accumulate:
        raise OptionError("--accumulate must divide --batch-size")
    if not 0 <= recipe.dropout < 1 or not 0 <= recipe.embedding_rate <= 1:
        raise OptionError("--dropout and --embedding-rate are shares, from 0 to 1")


class Training:
    """One run: what it learns from, the network, and the state that a checkpoint keeps."""

    def __init__(self, recipe: Recipe, data: Path, out: Path, limit: int | None = None) -> None:
        self.recipe, self.data, self.out = recipe, data, out
        self.accelerator = Accelerator(mixed_precision=_precision(recipe.precision))
        out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = out / "checkpoint"
        if self.accelerator.is_main_process:
            recover_folder(self.checkpoint)
        self.accelerator.wait_for_everyone()
        torch.manual_seed(recipe.seed)
        train = load_split(data, "train")
        if limit is not None:
            train = train.select(range(min(limit, len(train))))
        self.validation_rows = load_split(data, "validation")
        self.settings: dict[str, Any] = {
            "order": recipe.order, "anchor": ANCHOR if recipe.order == "free" else 0.0, **learn_settings(train)
        }  # fmt: skip
        self.tokenizer_file, network = self._base(train)
        self.tokenizer = TermTokenizer.from_file(self.tokenizer_file)
        self.schedule = self._schedule(train, seed=recipe.seed, embedding_rate=recipe.embedding_rate)
        # Judged on what ships: every prompt in full view, and no embeddings.
        self.validation = self._schedule(
            self.validation_rows, seed=0, embedding_rate=0.0, prompt_dropout=0.0, drop_last=False
        )
        model = PairLoss(network)
        optimizer = torch.optim.AdamW(_parameter_groups(model, recipe), lr=recipe.learning_rate, betas=(0.9, 0.98))
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.state: dict[str, Any] = {
            "recipe": asdict(recipe),
            "data": digest_of_files(files_of(data)),
            "base": "" if recipe.base == "mini" else digest_of_model(self.tokenizer_file.parent),
            "pairs": len(self.schedule.examples),
            "step": 0,
            "seconds": 0.0,
            "best": None,
            "best_step": 0,
            "history": [],
        }

    @property
    def network(self) -> T5ForConditionalGeneration:
        return self.accelerator.unwrap_model(self.model).network

    def _base(self, train: Dataset) -> tuple[Path, T5ForConditionalGeneration]:
        """The tokenizer file and the network to train; a new vocabulary is kept in OUT for resuming, and only for that:
        one that is left over from other data is written anew."""
        if self.recipe.base != "mini":
            folder = locate(self.recipe.base)
            return folder / TOKENIZER, pretrained_network(folder, self.recipe)
        path = self.out / TOKENIZER
        if self.accelerator.is_main_process and not (self.checkpoint.exists() and path.exists()):
            written = [
                terms + [name.lower() for name in names]
                for terms, names in zip(train["terms"], train["embeddings"], strict=True)
            ]
            size = VocabularySize(tags=self.recipe.whole_tags)
            vocabulary = build_vocabulary(train["text"], written, size, PLANS if self.recipe.plans else ())
            write_text(path, vocabulary.to_str(pretty=True))
        self.accelerator.wait_for_everyone()
        tokenizer = TermTokenizer.from_file(path)
        network = new_network(len(tokenizer), self.recipe)
        if self.recipe.piece_embeddings == "minilm":
            start_from_meanings(network, tokenizer)
        return path, network

    def _schedule(self, rows: Dataset, **how: Any) -> Schedule:
        recipe = self.recipe
        examples = encode_rows(
            self.tokenizer, rows, max_prompt_tokens=recipe.max_prompt_tokens, max_terms=recipe.max_terms
        )
        if not examples:
            raise DataError(f"{self.data}: no row with a prompt and a negative prompt")
        how |= {"order": recipe.order, "between": self.tokenizer.between, "plan": self.tokenizer.plan}
        return Schedule(examples, recipe.batch_size, **how)

    def run(self) -> None:
        """Train to the end (or to where the likelihood stops rising) and export the best weights."""
        self._resume()
        total = self.recipe.epochs * self.schedule.steps_per_epoch
        every = max(1, round(self.recipe.evaluate_every * self.schedule.steps_per_epoch))
        main = self.accelerator.is_main_process
        log = SummaryWriter(str(self.out / "logs"), purge_step=self.state["step"]) if main else None
        bar = tqdm(total=total, initial=self.state["step"], disable=not main, unit="step", mininterval=2.0)
        began, saved = time.monotonic() - self.state["seconds"], time.monotonic()
        epoch_batches: tuple[int, list[list[int]]] | None = None
        while self.state["step"] < total and not self._stalled():
            step = self.state["step"]
            epoch, place = divmod(step, self.schedule.steps_per_epoch)
            if epoch_batches is None or epoch_batches[0] != epoch:
                epoch_batches = (epoch, self.schedule.epoch(epoch))
            loss = self._step(step, total, epoch, epoch_batches[1][place])
            self.state["step"] = step + 1
            self.state["seconds"] = time.monotonic() - began
            bar.update()
            if log and step % 20 == 0:
                log.add_scalar("train/nats_per_term", loss, step)
                log.add_scalar("train/learning_rate", self.optimizer.param_groups[0]["lr"], step)
                bar.set_postfix(loss=f"{loss:.3f}")
            if (step + 1) % every == 0 or step + 1 == total:
                self._validate(log)
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                self._save()
                saved = time.monotonic()
        bar.close()
        if self.state["best"] is None:
            self._validate(log)
        self._save()
        if main:
            self._export()

    def _step(self, step: int, total: int, epoch: int, positions: list[int]) -> float:
        """One optimizer step on one batch; returns this process's share of its loss, in nats a term."""
        recipe, shares = self.recipe, self.accelerator.num_processes
        torch.manual_seed(_seed(recipe.seed, step, self.accelerator.process_index))
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule_factor(step, total, recipe.warmup)
        self.model.train()
        examples = self.schedule.draw(epoch, positions)
        scale = shares / sum(map(count_terms, examples))
        own = examples[self.accelerator.process_index :: shares]
        parts = [part for part in (own[i :: recipe.accumulate] for i in range(recipe.accumulate)) if part]
        loss_sum = 0.0
        for number, part in enumerate(parts):
            more_to_come = number + 1 < len(parts)
            with self.accelerator.no_sync(self.model) if more_to_come else nullcontext():
                loss = self._loss(self.schedule.collate(part)) * scale
                self.accelerator.backward(loss)
            loss_sum += loss.item()
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss_sum

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Nats that the network needs to write the batch's negatives, summed over its terms."""
        loss: torch.Tensor = self.model(batch.to(self.accelerator.device))
        return loss

    def _validate(self, log: SummaryWriter | None) -> None:
        """Likelihood and term F1 on the validation split; keeps the weights when the likelihood rose."""
        nats = self._nats_per_term()
        measured = {"step": self.state["step"], "nats_per_term": nats, "seconds": self.state["seconds"]}
        if self.accelerator.is_main_process:
            measured["term_f1"] = self._term_f1()
            if log:
                log.add_scalar("validation/nats_per_term", nats, self.state["step"])
                log.add_scalar("validation/term_f1", measured["term_f1"], self.state["step"])
            print(json.dumps({k: round(v, 4) for k, v in measured.items()}), flush=True)
        self.state["history"].append(measured)
        if self.state["best"] is None or nats < self.state["best"]:
            self.state["best"], self.state["best_step"] = nats, self.state["step"]
            self._save(name="best")
        self._save()

    @torch.no_grad()
    def _nats_per_term(self) -> float:
        self.model.eval()
        nats, terms = 0.0, 0
        for positions in self.validation.epoch(0):
            examples = self.validation.draw(0, positions)
            with self.accelerator.autocast():
                nats += self._loss(self.validation.collate(examples)).item()
            terms += sum(map(count_terms, examples))
        return nats / terms

    def _term_f1(self) -> float:
        """Of what the generator itself writes at creativity 0, on the first rows of the validation split."""
        rows = self.validation_rows.select(range(min(F1_ROWS, len(self.validation_rows))))
        with tempfile.TemporaryDirectory() as folder:
            self._write_model(Path(folder))
            written = negopt.load(folder).generate_batch(rows["prompt"])
        return score([[term.text for term in answer.terms] for answer in written], rows["terms"]).f1

    def _stalled(self) -> bool:
        """Have the last validations, as many as the recipe's patience, brought nothing?"""
        since = [m for m in self.state["history"] if m["step"] > self.state["best_step"]]
        return len(since) >= self.recipe.patience

    def _save(self, name: str = "checkpoint") -> None:
        if self.accelerator.is_main_process:
            self.state["moments"] = moment_names(self.optimizer)
            save_checkpoint(self.out / name, self.network, self.optimizer, self.state)

    def _resume(self) -> None:
        """Go on from OUT/checkpoint where there is one; it must come from the same recipe and data."""
        if not self.checkpoint.exists():
            return
        begun = load_state(self.checkpoint)
        # get: what older checkpoints do not say cannot be known to be the same
        if any(begun.get(key) != self.state[key] for key in ("recipe", "data", "pairs", "base")):
            raise OptionError(
                f"{self.checkpoint} was begun with other settings, base or data; use another --out or delete it"
            )
        self.state = load_checkpoint(self.checkpoint, self.network, self.optimizer)

    def _export(self) -> None:
        """The best weights as a model folder, OUT/model."""
        load_weights(self.out / "best", self.network)
        self._choose_length()
        with replace_folder(self.out / "model") as fresh:
            self._write_model(fresh)
            (fresh / "README.md").write_text(model_card(self.state, self.data, self.network), "utf-8")

    def _choose_length(self) -> None:
        """Of several lengths of a list, the one with which the model comes nearest to people's lists."""
        f1: dict[int, float] = {}
        for length in LENGTHS if self.tokenizer.plans else ():
            self.settings["length"] = length
            f1[length] = self._term_f1()
        if f1:
            self.settings["length"] = max(f1, key=lambda length: f1[length])
            self.state["length_f1"] = f1

    def _write_model(self, folder: Path) -> None:
        write_model(folder, self.network, self.tokenizer_file, self.settings)


def schedule_factor(step: int, total: int, warmup: float) -> float:
    """Share of the full learning rate at a step: a linear rise, then half a cosine down to zero."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def _seed(*parts: int) -> int:
    """A seed for torch from several numbers, the same on every machine."""
    return random.Random("/".join(map(str, parts))).getrandbits(63)


def _precision(wanted: str) -> str:
    """accelerate's name for the precision: bf16 only where the machine has instructions for it."""
    if wanted == "auto":
        wanted = "bf16" if _has_bf16() else "fp32"
    return "no" if wanted == "fp32" else wanted


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        # not is_bf16_supported: it counts cards that have no instructions for it and emulate them, too
        return torch.version.hip is not None or torch.cuda.get_device_capability() >= (8, 0)
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not before torch 2.5
    return torch.backends.mps.is_available() or bool(asked and asked())


def _parameter_groups(model: torch.nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Weight decay for matrices, none for scales and for the position biases."""
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1 and "relative_attention_bias" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim <= 1 or "relative_attention_bias" in n]
    return [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
