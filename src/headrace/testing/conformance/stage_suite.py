"""What every stage promises: the same row gives the same request, and a row is only read."""

from __future__ import annotations

import copy

import pytest

from headrace.stage import Named, Stage, StageInput


class StageConformance:
    """Subclass as ``class TestMine(StageConformance)`` and override the ``make`` methods."""

    def make_stage(self) -> Stage:
        """Return a built stage."""
        raise NotImplementedError

    def make_input(self, number: int) -> StageInput:
        """Return an input that the stage accepts; other numbers, other contents."""
        raise NotImplementedError

    def test_stage_is_named(self) -> None:
        """A stage has a name and a kind, and tells which columns it reads."""
        stage = self.make_stage()
        assert stage.name
        assert stage.kind
        assert all(isinstance(column, str) for column in stage.columns())

    def test_columns_are_enough(self) -> None:
        """A row with only the columns that the stage reads gives what the whole row gives."""
        stage, given = self.make_stage(), self.make_input(1)
        row = {name: value for name, value in given.row.items() if name in stage.columns()}
        if row.keys() != stage.columns():
            pytest.skip("the input leaves optional columns out")
        less = copy.copy(given)
        object.__setattr__(less, "row", row)
        assert result_of(stage, less) == result_of(stage, given)

    def test_same_row_same_result(self) -> None:
        """The same input gives the same fingerprint (or name), however often it is asked."""
        given = self.make_input(1)
        first, second = self.make_stage(), self.make_stage()
        assert result_of(first, given) == result_of(first, given) == result_of(second, given)

    def test_other_row_other_result(self) -> None:
        """Inputs with other contents give other fingerprints (or names)."""
        stage = self.make_stage()
        assert result_of(stage, self.make_input(1)) != result_of(stage, self.make_input(2))

    def test_the_row_is_only_read(self) -> None:
        """A stage leaves the input as it found it."""
        stage, given = self.make_stage(), self.make_input(1)
        before = copy.deepcopy((given.row, given.outputs, given.texts))
        result_of(stage, given)
        assert (given.row, given.outputs, given.texts) == before

    def test_request_names_its_provider(self) -> None:
        """A request carries the provider's name and the version that it pins."""
        stage = self.make_stage()
        if stage.provider is None:
            return
        request = stage.request(self.make_input(1))
        assert request.provider == stage.provider.name
        assert request.version == stage.provider.version(request.model)


def result_of(stage: Stage, given: StageInput) -> object:
    """Return the fingerprint of the stage's request, or what it gives on the spot."""
    if stage.provider is not None:
        return stage.request(given).fingerprint
    done = stage.apply(given)
    return done.file if isinstance(done, Named) else done
