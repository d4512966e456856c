"""The form that an answer is asked in: JSON that fits a schema of the recipe."""

from __future__ import annotations

from typing import Any

from headrace.stages.settings import Settings

FORMS = ("json_schema", "json_object", "none")


def response_format(settings: Settings) -> dict[str, Any] | None:
    """Return the ``response_format`` for the stage's ``schema``, ``None`` where none is asked.

    ``schema_form`` says how an API wants it: ``json_schema`` is OpenAI's form and the
    default; ``json_object``, with the schema beside it, that of several other servers
    (llama.cpp's among them); ``none`` leaves it to the prompt. Raises ``RecipeError``.
    """
    form = settings.choice("schema_form", FORMS, FORMS[0])
    if "schema" not in settings or form == "none":
        return None
    from headrace.json_schema import read_schema

    text, place = settings.file("schema")
    schema = read_schema(text, place)
    if form == "json_object":
        return {"type": "json_object", "schema": schema}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
