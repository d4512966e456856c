"""What goes into a model beside its prompt: pictures of earlier stages, or photos of the row."""

from __future__ import annotations

import re
from typing import Any

from headrace.outcome import OutcomeKind, failed
from headrace.photo import PhotoMissingError, SourcePhotos
from headrace.recipe import StageSpec, Template
from headrace.request import at_place, places_of
from headrace.stage import StageInput
from headrace.stages.settings import Settings

PREVIOUS = "previous"
SOURCES_MAX = 16
"""Pictures that one call may take in."""

_STAGE = "stages."
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_TEXT = ("text/", "application/json")
_FILLED = re.compile(r"\{\{.*\}\}", re.DOTALL)


class Sources:
    """The sources of one stage, by the param that each becomes.

    Each is ``previous``, ``stages.NAME``, or a template of a file name inside the allowed
    folders, or of ``sha256:…``, the digest of an artifact that is kept. A template that
    comes out empty leaves its source out.
    """

    def __init__(self, table: dict[str, list[str]], is_list: set[str], place: str) -> None:
        self._is_list = is_list
        self._wanted: dict[str, list[str | Template]] = {
            name: [_parsed(text, f"{place} {name}") for text in texts]
            for name, texts in table.items()
        }
        self._photos = SourcePhotos()
        templates = [one for wanted in self._wanted.values() for one in wanted]
        self.columns = {
            column for one in templates if isinstance(one, Template) for column in one.columns
        }
        self.stages = frozenset(
            stage for one in templates if isinstance(one, Template) for stage in one.stages
        )

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def unfilled(self) -> dict[str, Any]:
        """Return the params as a provider may check them before there is a row."""
        return {
            name: [at_place(0)] * len(wanted) if name in self._is_list else at_place(0)
            for name, wanted in self._wanted.items()
        }

    def fill(
        self, given: StageInput, values: dict[str, Any]
    ) -> tuple[dict[str, Any], tuple[str, ...], dict[str, str]]:
        """Return the params, the digests, and the files by digest for one row.

        Raises ``CallFailed`` (invalid) and ``PhotoError``.
        """
        params: dict[str, Any] = {}
        digests: list[str] = []
        files: dict[str, str] = {}
        for name, wanted in self._wanted.items():
            places = []
            for one in wanted:
                digest = self._digest(one, given, values, files)
                if digest is None:
                    continue
                if digest not in digests:
                    digests.append(digest)
                places.append(at_place(digests.index(digest)))
            if places:
                params[name] = places if name in self._is_list else places[0]
        return params, tuple(digests), files

    def _digest(
        self,
        wanted: str | Template,
        given: StageInput,
        values: dict[str, Any],
        files: dict[str, str],
    ) -> str | None:
        if isinstance(wanted, str):
            return _made(wanted, given)
        name = wanted.fill(values).strip()
        if not name:
            return None
        kept = DIGEST.fullmatch(name)
        if kept is not None:
            return kept.group(1)
        try:
            digest = self._photos.sha256(name, given.folders)
        except PhotoMissingError as error:
            error.remedy = "Correct the cell, or add the file to the input's folder."
            raise
        files[digest] = name
        return digest


def _made(wanted: str, given: StageInput) -> str:
    name = wanted.removeprefix(_STAGE)
    made = given.previous if wanted == PREVIOUS else given.outputs.get(name)
    if made is None or made.media_type.startswith(_TEXT):
        what = "nothing" if made is None else made.media_type
        raise failed(
            OutcomeKind.INVALID,
            f"row {given.row_number}: {wanted!r} was to go in as a picture, but it is {what}",
            remedy="Name a stage that makes a picture; text goes into the prompt.",
        )
    return made.sha256.hex()


def _parsed(text: str, place: str) -> str | Template:
    if text == PREVIOUS or text.startswith(_STAGE):
        return text
    return Template(text, place)


def read_sources(settings: Settings) -> Sources:
    """Return what ``image`` and ``[stages.sources]`` ask for; raises ``RecipeError``."""
    table = dict(settings.table("sources"))
    if "image" in settings:
        if "image" in table:
            raise settings.wrong("the image stands twice", "Keep image = … of the stage itself.")
        table["image"] = settings.get("image")
    texts: dict[str, list[str]] = {}
    # One that is set to nothing, from outside, is taken out.
    table = {name: value for name, value in table.items() if value != ""}
    for name, value in table.items():
        texts[name] = value if isinstance(value, list) else [value]
        if name == "prompt" or not all(_is_source(text) for text in texts[name]):
            raise settings.wrong(
                f"{name} = {value!r} is no source",
                'Write "previous", "stages.NAME", "{{ reference }}" or a file name.',
            )
    if sum(map(len, texts.values())) > SOURCES_MAX:
        raise settings.wrong(f"a stage takes {SOURCES_MAX} sources at most")
    is_list = {name for name, value in table.items() if isinstance(value, list)}
    return Sources(texts, is_list, f"{settings.place} sources")


def _is_source(text: Any) -> bool:
    if not isinstance(text, str) or not text:
        return False
    if text == PREVIOUS or _FILLED.search(text) is not None:
        return True
    return text.startswith(_STAGE) or "." in text  # "logo.png", the same for all rows


def stages_taken(spec: StageSpec) -> set[str]:
    """Return what the sources of ``spec`` name: earlier stages, and ``previous``."""
    table = spec.settings.get("sources", {})
    told = [*table.values()] if isinstance(table, dict) else []
    told.append(spec.settings.get("image"))
    if spec.kind != "generate":
        return set()
    names = {text for one in told for text in (one if isinstance(one, list) else [one])}
    return {
        name.removeprefix(_STAGE)
        for name in names
        if isinstance(name, str) and (name == PREVIOUS or name.startswith(_STAGE))
    }


def forged_place(params: dict[str, Any]) -> str | None:
    """Return the name of a param that is written like a source, ``None`` where none is."""
    return next((name for name, value in params.items() if places_of(value)), None)
