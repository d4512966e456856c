"""Settings laid over a recipe, and the files it names: checked where they are said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.config import load_config
from headrace.errors import RecipeError
from headrace.recipe import Recipe, find_recipe, parse_recipe, read_recipe
from headrace.recipe_changes import changes_for, read_changes
from headrace.stages import build_stages
from headrace.testing import SimulatedProvider

RECIPE = """
[files]
voice = "sub/voice.md"
[defaults]
model = "simulated:a"
params = { tone = "calm", size = 3 }
[[stages]]
name = "one"
kind = "generate"
prompt = "{{ files.voice }} {{ title }}"
[[stages]]
name = "two"
kind = "generate"
model = "simulated:b"
prompt = "x"
params = { tone = "wild" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own" / "sub").mkdir(parents=True)
    (tmp_path / "own" / "r.toml").write_text(RECIPE)
    (tmp_path / "own" / "sub" / "voice.md").write_text("Own voice.")
    return tmp_path


def read(folder: Path, *shelves: Path, **changes: Any) -> Recipe:
    return read_recipe(folder / "own" / "r.toml", shelves, changes)


def requests(recipe: Recipe) -> list[Any]:
    from headrace.stage import StageInput

    given = StageInput({"title": "tea"}, {}, {}, None, 1, "b")
    stages = build_stages(recipe, {"simulated": SimulatedProvider()})
    return [stage.request(given) for stage in stages]


def test_defaults_are_for_stages_that_do_not_say(folder: Path) -> None:
    """A stage's own setting wins; tables are laid over each other key by key."""
    one, two = requests(read(folder))
    assert (one.model, two.model) == ("a", "b")
    assert one.params == {"prompt": "Own voice. tea", "tone": "calm", "size": 3}
    assert two.params == {"prompt": "x", "tone": "wild", "size": 3}


def test_changes_are_laid_over_the_file(folder: Path) -> None:
    """Another model, param and default from outside are as if they stood in the file."""
    words = ["one.model=simulated:c", "two.params.size=5", "defaults.params.depth=[1, 2]"]
    recipe = read(folder, **read_changes(words))
    one, two = requests(recipe)
    assert one.model == "c"
    assert two.params == {"prompt": "x", "tone": "wild", "size": 5, "depth": [1, 2]}
    assert recipe.version != read(folder).version


def test_several_models_take_the_place_of_one(folder: Path) -> None:
    """A list from outside replaces the recipe's model, and each has the stage's other settings."""
    words = ['two.models=["simulated:c", {model = "simulated:d", params = {tone = "low"}}]']
    stages = build_stages(read(folder, **read_changes(words)), {"simulated": SimulatedProvider()})
    from headrace.stage import StageInput, requests_of

    found = requests_of(stages[1], StageInput({}, {}, {}, None, 1, "b"))
    assert [one.model for one in found] == ["c", "d"]
    assert [one.params["tone"] for one in found] == ["wild", "low"]
    one = ["one.models=['simulated:c', 'simulated:d']"]
    stages = build_stages(read(folder, **read_changes(one)), {"simulated": SimulatedProvider()})
    given = StageInput({"title": "tea"}, {}, {}, None, 1, "b")
    prompts = {asked.params["prompt"] for asked in requests_of(stages[0], given)}
    assert prompts == {"Own voice. tea"}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a.b=openai:gpt-5-mini", "openai:gpt-5-mini"),
        ("a.b=0.5", 0.5),
        ("a.b=true", True),
        ('a.b="0.5"', "0.5"),
        ("a.b=", ""),
        ("a.b=x=y", "x=y"),
        ("a.b=1\nc = 2", "1\nc = 2"),
        ("a.b={x = 1}", {"x": 1}),
        ("a.b=2020-01-01", "2020-01-01"),
    ],
)
def test_values_are_read_as_toml_or_text(word: str, value: Any) -> None:
    """A word sets exactly the one value that it shows."""
    assert read_changes([word]) == {"a": {"b": value}}


@pytest.mark.parametrize("word", ["model", "model=x", "=x", "a.=x", ".b=x", "a..b=x"])
def test_a_word_that_sets_nothing_is_told(word: str) -> None:
    """What is no setting of a stage is an error that shows how to write one."""
    with pytest.raises(RecipeError, match="sets nothing"):
        read_changes([word])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"thre": {"model": "x"}}, "no stage 'thre'"),
        ({"one": "x"}, "not a table"),
        ({"one": {"kind": "write"}}, "cannot be set from outside"),
        ({"files": {"vioce": "x"}}, "no file 'vioce'"),
        ({"files": {"voice": "gone.md"}}, "cannot be read"),
    ],
)
def test_wrong_changes_are_errors(folder: Path, changes: dict[str, Any], said: str) -> None:
    """A stage or file that is not there is told, with the nearest that is."""
    with pytest.raises(RecipeError, match=said):
        read(folder, **changes)


def test_a_file_on_a_shelf_wins_and_a_named_one_wins_over_it(folder: Path) -> None:
    """Own, then a recipes folder, then the one that a person names."""
    shelf = folder / "recipes"
    (shelf / "sub").mkdir(parents=True)
    (shelf / "sub" / "voice.md").write_text("Shelf voice.")
    (folder / "named.md").write_text("\ufeffNamed\r\nvoice.")
    assert requests(read(folder))[0].params["prompt"] == "Own voice. tea"
    assert requests(read(folder, shelf))[0].params["prompt"] == "Shelf voice. tea"
    changes = {"files": {"voice": str(folder / "named.md")}}
    assert requests(read(folder, shelf, **changes))[0].params["prompt"] == "Named\nvoice. tea"


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/link", "gone", "sub"])
def test_a_recipe_cannot_name_what_lies_outside(folder: Path, name: str) -> None:
    """A recipe from somewhere reads nothing beside its own folder, links included."""
    (folder / "secret").write_text("secret")
    (folder / "own" / "sub" / "link").symlink_to(folder / "secret")
    (folder / "own" / "r.toml").write_text(RECIPE.replace("sub/voice.md", name))
    with pytest.raises(RecipeError):
        read(folder)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a\0b", b"x" * (256 * 1024 + 1)])
def test_a_file_that_is_no_text_is_told(folder: Path, body: bytes) -> None:
    """Other encodings, NUL characters and far too much are errors that name the file."""
    (folder / "own" / "sub" / "voice.md").write_bytes(body)
    with pytest.raises(RecipeError, match=r"voice\.md"):
        read(folder)


def test_only_a_recipe_file_reads_files() -> None:
    """A recipe that came as data cannot make this machine read a file."""
    stage = {"kind": "generate", "model": "simulated:m", "prompt": "x"}
    with pytest.raises(RecipeError, match="cannot be read here"):
        parse_recipe({"files": {"a": "/etc/passwd"}, "stages": [stage]}, "api")


def test_a_hole_for_no_file_is_told(folder: Path) -> None:
    """``{{ files.x }}`` that the recipe does not name, or where none is read, is an error."""
    text = RECIPE.replace("files.voice }}", "files.vioce }}")
    (folder / "own" / "r.toml").write_text(text)
    with pytest.raises(RecipeError, match="does not name"):
        requests(read(folder))
    write = '[[stages]]\nname = "save"\nkind = "write"\nfile = "{{ files.voice }}"\n'
    (folder / "own" / "r.toml").write_text(RECIPE + write)
    with pytest.raises(RecipeError, match="reads no files"):
        requests(read(folder))


def test_the_settings_file_has_a_table_for_a_recipe(tmp_path: Path) -> None:
    """``[recipes.article]`` is laid over the recipe, and what a command says over that."""
    (tmp_path / "headrace.toml").write_text(
        '[recipes.article]\noutline = { model = "x:a" }\ndefaults.model = "x:b"\n'
    )
    config = load_config(tmp_path / "headrace.toml", environment={})
    changes = changes_for(config.recipes, "article", {"outline": {"model": "x:c"}})
    assert changes == {"outline": {"model": "x:c"}, "defaults": {"model": "x:b"}}
    assert changes_for(config.recipes, "recipes/article.toml", None)["defaults"] == {"model": "x:b"}
    recipe = find_recipe("article", (), changes)
    assert recipe.stages[0].settings["model"] == "x:c"
    assert recipe.stages[1].settings["model"] == "x:b"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"blames": "one"}, "blames 'one', which is no generate stage"),
        ({"complaints": 2}, "need a stage"),
        ({"blames": "first", "complaints": 11}, "between 0 and 10"),
        ({"brand": "brand"}, "none of the recipe's files"),
        ({"language": "{{ l }}"}, "language is for"),
        ({"schema": "bad"}, "schema"),
        ({"schema": "far"}, "refers to"),
    ],
)
def test_a_wrong_check_is_an_error_of_the_recipe(settings: dict[str, Any], said: str) -> None:
    """Who is blamed, and by which rules, is checked before there is a row."""
    files = {
        "bad": {"name": "bad", "text": '{"type": 5}'},
        "far": {"name": "far", "text": '{"$ref": "https://example.com/x.json"}'},
    }
    first = {"kind": "generate", "name": "first", "model": "simulated:m", "prompt": "x"}
    check = {"kind": "check", "chars_min": 1} | settings
    recipe = parse_recipe({"stages": [first, check], "files": files}, "r")
    from headrace.providers.local.images import ImagesProvider

    with pytest.raises(RecipeError, match=said):
        build_stages(recipe, {"simulated": SimulatedProvider(), "images": ImagesProvider()})
