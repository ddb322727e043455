"""NegOpt and NegOpt Alternatives: the nodes that write negative prompts for their prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from comfy_api.latest import io

from . import host
from .conditioning import encode
from .inputs import CATEGORY, option_inputs, prompt_input, writing_inputs, writing_outputs
from .jobs import write
from .model_node import ModelNode
from .models import open_model
from .report import report
from .rows import job, rows


class WritingNode(ModelNode):
    """What both do. Their inputs come as lists, so that many prompts go through the network side by side."""

    DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    """What an input is when a graph sent to the API leaves it out, where that is not the generator's own default."""

    @classmethod
    def execute(cls, **inputs: list[Any]) -> io.NodeOutput:
        jobs = [job({**cls.DEFAULTS, **row}) for row in rows(inputs)]
        written = write(jobs, open_model, host.progress(len(jobs)))
        clips = [one.job.clip for one in written for _ in one.texts]
        prompts = [one.job.prompt for one in written for _ in one.texts]
        negatives = [text for one in written for text in one.texts]
        shown = {"text": negatives, "negopt": report(written)}
        encoded = [encode(clips, texts, host.stop_if_cancelled) for texts in (prompts, negatives)]
        return io.NodeOutput(prompts, negatives, *encoded, ui=shown)


class NegOpt(WritingNode):
    """One negative for each prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NegOpt",
            display_name="NegOpt",
            category=CATEGORY,
            description="Writes the negative prompt that suits the prompt. Offline, on the CPU, in milliseconds.",
            inputs=[
                prompt_input("What the picture shows. Goes on unchanged through the output 'prompt text'."),
                *writing_inputs(),
            ],
            outputs=writing_outputs(),
            is_input_list=True,
            is_output_node=True,
        )


class NegOptAlternatives(WritingNode):
    """Several negatives for each prompt, as one list."""

    DEFAULTS: ClassVar[Mapping[str, Any]] = {"n": 4}

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NegOptAlternatives",
            display_name="NegOpt Alternatives",
            category=CATEGORY,
            description="Writes several different negative prompts for one prompt, as a list: what follows runs once "
            "for each, so that you can compare the pictures.",
            inputs=[
                prompt_input("What the pictures show. Goes on unchanged, once for each negative."),
                *option_inputs("n", n={"default": cls.DEFAULTS["n"], "advanced": False}),
                *writing_inputs(),
            ],
            outputs=writing_outputs(),
            is_input_list=True,
            is_output_node=True,
        )
