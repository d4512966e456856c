"""Tells a model what was wrong with its last answer, when a check has sent an item back to it."""

from __future__ import annotations

from headrace.complaint import complaint_name, complaints_about, rejected_name
from headrace.recipe import Template
from headrace.stage import StageInput
from headrace.stages.filling import RowValues

ANSWER_CHARS_MAX = 24_000
DEFAULT = """

Your last answer was not accepted. {{ complaint }}

This was your last answer:
{{ answer }}

Write the whole answer again, so that nothing of this is wrong with it. Answer with it alone."""


class Told:
    """The words that follow the prompt of a stage when there is a complaint about it."""

    def __init__(self, stage: str, template: Template) -> None:
        self._stage = stage
        self._template = template

    def after(self, prompt: str, given: StageInput, values: RowValues) -> str:
        """Return ``prompt`` with the latest complaint after it, or as it is without one."""
        number = complaints_about(self._stage, given.outputs)
        if number == 0:
            return prompt
        more = RowValues(values)
        more["complaint"] = given.texts.get(complaint_name(self._stage, number), "")
        answer = given.texts.get(rejected_name(self._stage, number), "")
        more["answer"] = answer[:ANSWER_CHARS_MAX]
        return prompt + self._template.fill(more)
