"""NegOpt Merge: negatives from elsewhere (a styler, a wildcard pack) made to suit the prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import host
from .inputs import CATEGORY, LATER_OPTIONS, WRITING_OPTIONS, linked_model_input, model_input, option_inputs
from .jobs import merge_or_join, write
from .model_node import ModelNode
from .models import open_model
from .report import merge_report, report
from .rows import job, rows


class NegOptMerge(ModelNode):
    """The union of other negatives and the written one: nothing twice, nothing that the prompt asks for."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NegOptMerge",
            display_name="NegOpt Merge",
            category=CATEGORY,
            description="Takes negative prompts from elsewhere (a styler, a wildcard pack), leaves out what repeats "
            "itself and what the prompt asks for, and adds what NegOpt would write. With 0 max terms it adds nothing.",
            inputs=[
                io.String.Input(
                    "prompt", force_input=True, tooltip="What the picture shows; decides what may not be negated."
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    default="",
                    placeholder="negative",
                    tooltip="A negative prompt, typed or linked. Of a repeated term the first stays, with its weight.",
                ),
                io.String.Input(
                    "negative_2", force_input=True, optional=True, tooltip="Another one, to follow the first."
                ),
                *option_inputs("avoid"),
                model_input(),
                *option_inputs(*WRITING_OPTIONS),
                linked_model_input(),
                *option_inputs(*LATER_OPTIONS),
            ],
            outputs=[
                io.String.Output(
                    "negative_text",
                    display_name="negative text",
                    is_output_list=True,
                    tooltip="All of them as one negative prompt.",
                )
            ],
            is_input_list=True,
            is_output_node=True,
        )

    @classmethod
    def execute(cls, **inputs: list[Any]) -> io.NodeOutput:
        table = rows(inputs)
        given = [(str(row.get("negative", "")), str(row.get("negative_2", ""))) for row in table]
        merged = [
            merge_or_join(row["prompt"], *pair, avoid=row.get("avoid", ""))
            for row, pair in zip(table, given, strict=True)
        ]
        jobs = [job(row, keep=one.text) for row, one in zip(table, merged, strict=True)]
        written = write(jobs, open_model, host.progress(len(jobs)))
        negatives = [text for one in written for text in one.texts]
        entries = list(map(merge_report, report(written), merged, given))
        return io.NodeOutput(negatives, ui={"text": negatives, "negopt": entries})
