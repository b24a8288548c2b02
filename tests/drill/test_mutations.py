"""Every planted bug is noticed by the simulation, and none is noticed where none was planted."""

import pytest

from claire.drill.simulation import simulate
from tests.drill.mutations import CALM, MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_bug_is_caught(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.plant(monkeypatch)
    found: list[str] = []
    for seed in range(1, mutation.seeds + 1):
        found = simulate(seed, mutation.plan).violations
        if found:
            break
    assert found, f"{mutation.seeds} seeds did not notice: {mutation.name}"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_found_where_no_bug_was_planted(seed: int) -> None:
    assert simulate(seed, CALM).violations == []
