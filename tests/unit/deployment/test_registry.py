"""Moves of an alias: decided by the recorded state, made once per key, exact in a directory."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.deployment.registries.history import AliasConflict, AliasState, Move, RegistryError
from airflow_slo_provider.deployment.registries.names import ANY, NONE, PREVIOUS
from airflow_slo_provider.deployment.registries.registry import Moved, MoveRequest, decide_move


def promote_request(to: str, key: str | None = None, expected: str = ANY, **more: Any) -> MoveRequest:
    return MoveRequest(kind="promote", alias="champion", key=key or f"run-{to}", to=to, expected=expected, **more)


def rollback_request(key: str, **more: Any) -> MoveRequest:
    return MoveRequest(kind="rollback", alias="champion", key=key, **more)


def recorded_move(key: str, before: str | None, after: str, kind: str = "promote") -> Move:
    return Move(key=key, kind=kind, alias="champion", before=before, after=after, at="2026-11-24T05:00:00+00:00")


@pytest.fixture
def registry(tmp_path: Path) -> DirectoryRegistry:
    """Versions 1, 2 and 3 of a model."""
    made = DirectoryRegistry(tmp_path / "registry")
    for version in "123":
        source = tmp_path / f"model-{version}"
        source.mkdir()
        (source / "model.bin").write_bytes(version.encode())
        made.register("fraud", version, source)
    return made


def test_two_promotions_move_the_alias_and_are_recorded(registry: DirectoryRegistry) -> None:
    assert registry.alias("fraud", "champion") is None
    first = registry.move("fraud", promote_request("1", expected=NONE, by="a.b", evidence={"verdict": "pass"}))
    assert (first.changed, first.before, first.after) == (True, None, "1")
    second = registry.move("fraud", promote_request("2", expected="1"))
    assert (second.before, second.message) == ("1", "fraud@champion: promoted from 1 to 2")
    assert (registry.alias("fraud", "champion"), registry.alias("fraud", PREVIOUS)) == ("2", "1")
    assert [(move.before, move.after) for move in registry.moves("fraud")] == [(None, "1"), ("1", "2")]
    assert registry.moves("fraud")[0].evidence == {"verdict": "pass"}


def test_promotion_with_the_same_key_is_not_repeated(registry: DirectoryRegistry) -> None:
    registry.move("fraud", promote_request("1"))
    registry.move("fraud", promote_request("2", key="a"))
    again = registry.move("fraud", promote_request("2", key="a", expected="1"))
    assert (again.changed, again.before, again.after, again.current) == (False, "1", "2", "2")
    # Somebody moved on: the retry leaves that alone.
    registry.move("fraud", promote_request("3"))
    late = registry.move("fraud", promote_request("2", key="a"))
    assert (late.changed, late.after, late.current) == (False, "2", "3")
    assert "it names 3 now" in late.message
    assert registry.alias("fraud", "champion") == "3"
    assert len(registry.moves("fraud")) == 3


def test_same_key_with_another_version_is_rejected(registry: DirectoryRegistry) -> None:
    """That its key has moved once is no answer to what it asks for now."""
    registry.move("fraud", promote_request("1"))
    registry.move("fraud", promote_request("2", key="a"))
    registry.move("fraud", rollback_request("b"))
    with pytest.raises(
        AliasConflict, match=r"moved it to 2 before, and is asked for 3 now; nothing was changed: start a new run"
    ):
        registry.move("fraud", promote_request("3", key="a", expected="1"))
    assert registry.alias("fraud", "champion") == "1"
    # A rollback to the predecessor asks for no version: the same question again.
    assert not registry.move("fraud", rollback_request("b")).changed
    with pytest.raises(AliasConflict, match="moved it to 1 before, and is asked for 2 now"):
        registry.move("fraud", rollback_request("b", to="2"))


def test_promotion_with_unexpected_champion_is_rejected(registry: DirectoryRegistry) -> None:
    registry.move("fraud", promote_request("1"))
    with pytest.raises(AliasConflict, match="names 1, not 3 as expected: somebody moved it"):
        registry.move("fraud", promote_request("2", expected="3"))
    with pytest.raises(AliasConflict, match="names 1, not none as expected"):
        registry.move("fraud", promote_request("2", expected=NONE))
    assert registry.alias("fraud", "champion") == "1"


def test_promotion_without_a_champion_explains_what_to_do(registry: DirectoryRegistry) -> None:
    """Nobody moved anything: whoever promotes for the first time is told how."""
    with pytest.raises(AliasConflict, match="names no version yet, not 1 as expected: there is no champion") as refused:
        registry.move("fraud", promote_request("2", expected="1"))
    assert str(refused.value).endswith("Promote 1 first, or make 2 the first one with expected_champion=''")
    with pytest.raises(AliasConflict, match="names no version yet, not 1 as expected: there is nothing to roll back"):
        registry.move("fraud", rollback_request("a", expected="1"))
    assert registry.move("fraud", promote_request("2", expected=NONE)).changed
    gone = AliasState(current=None, moves=[recorded_move("a", None, "1")])
    with pytest.raises(AliasConflict, match="names no version, not 1 as expected: somebody removed it after 1"):
        decide_move("fraud", gone, promote_request("2", expected="1"))


def test_second_rollback_goes_one_version_further_back(registry: DirectoryRegistry) -> None:
    for version in "123":
        registry.move("fraud", promote_request(version))
    first = registry.move("fraud", rollback_request("a"))
    assert (first.before, first.after) == ("3", "2")
    assert registry.alias("fraud", PREVIOUS) == "1"
    assert not registry.move("fraud", rollback_request("a")).changed
    assert registry.alias("fraud", "champion") == "2"
    # Not to 3, which is what the alias named before: that one was bad.
    assert registry.move("fraud", rollback_request("b")).after == "1"
    with pytest.raises(RegistryError, match="no predecessor of version 1 is recorded") as error:
        registry.move("fraud", rollback_request("c"))
    assert error.value.reason == "no_predecessor"


def history(*versions: str) -> list[Move]:
    """Promotions of one after the other; ``-2`` is a rollback to 2."""
    names = [None, *(version.lstrip("-") for version in versions)]
    return [
        recorded_move(str(place), names[place], version.lstrip("-"), "rollback" if version.startswith("-") else "promote")
        for place, version in enumerate(versions)
    ]


def rollback_target(state: AliasState, alias: str = "champion") -> str | None:
    """Where a rollback goes; None where it asks for the version."""
    try:
        found = decide_move("m", state, MoveRequest(kind="rollback", alias=alias, key="a"))
    except RegistryError as error:
        return None if error.reason == "no_predecessor" else f"{error}"
    return found.after


@pytest.mark.parametrize(
    ("moves", "to"),
    [
        ("A B C B", "C"),
        ("A B C B -C", "A"),  # not to B, which the first rollback took away
        ("A B C B -C -A", None),
        ("B C B -C", None),
        ("A B C B -C B", "C"),  # released again since
        ("A B -A B -A", None),
        ("A B A B", "A"),
        ("A B A B -A", None),
        ("A B C -B D -C", "B"),  # somebody has named C, though a rollback took it away
    ],
)
def test_rollback_never_restores_a_rolled_back_version(moves: str, to: str | None) -> None:
    made = history(*moves.split())
    assert rollback_target(AliasState(current=made[-1].after, moves=made)) == to


def test_third_rollback_without_predecessor_is_rejected(registry: DirectoryRegistry) -> None:
    for place, version in enumerate("1232"):
        registry.move("fraud", promote_request(version, key=str(place)))
    assert (registry.move("fraud", rollback_request("a")).after, registry.alias("fraud", PREVIOUS)) == ("3", "1")
    assert (registry.move("fraud", rollback_request("b")).after, registry.alias("fraud", PREVIOUS)) == ("1", None)
    with pytest.raises(RegistryError, match=r"no predecessor of version 1 .* \(replaced by a rollback: 2, 3\)"):
        registry.move("fraud", rollback_request("c"))


def move_manually(registry: DirectoryRegistry, to: str) -> None:
    place = registry._root / "fraud" / "registry.json"
    document = json.loads(place.read_text())
    place.write_text(json.dumps({**document, "aliases": {**document["aliases"], "champion": to}}))


def test_rollback_after_an_unrecorded_move_restores_the_last_version(registry: DirectoryRegistry) -> None:
    for version in "12":
        registry.move("fraud", promote_request(version))
    move_manually(registry, "3")
    assert registry.move("fraud", rollback_request("a")).after == "2"
    assert registry.move("fraud", rollback_request("b")).after == "1"


def test_version_restored_manually_has_no_known_predecessor(registry: DirectoryRegistry) -> None:
    """Whether 3 was bad or 2 was released again, nobody has recorded: going "back" to 3 might release what was taken away."""
    for version in "123":
        registry.move("fraud", promote_request(version))
    move_manually(registry, "2")
    with pytest.raises(RegistryError, match="no predecessor of version 2 is recorded; name the version"):
        registry.move("fraud", rollback_request("a"))
    assert registry.move("fraud", promote_request("1", key="b")).before == "2"
    assert registry.move("fraud", rollback_request("c")).after == "2"
    assert rollback_target(AliasState(current="2", moves=registry.moves("fraud"))) is None


def test_rollback_with_unexpected_champion_is_rejected(registry: DirectoryRegistry) -> None:
    for version in "12":
        registry.move("fraud", promote_request(version))
    registry.move("fraud", promote_request("3"))
    with pytest.raises(AliasConflict, match="names 3, not 2"):
        registry.move("fraud", rollback_request("a", expected="2"))
    assert registry.move("fraud", rollback_request("a", to="1")).after == "1"


def test_rollback_without_champion_is_rejected(registry: DirectoryRegistry) -> None:
    with pytest.raises(RegistryError, match="names no version"):
        registry.move("fraud", rollback_request("a"))


def test_promotion_of_a_missing_version_is_rejected(registry: DirectoryRegistry) -> None:
    with pytest.raises(RegistryError, match="no version 9") as error:
        registry.move("fraud", promote_request("9"))
    assert (error.value.reason, error.value.transient) == ("not_found", False)
    assert registry.alias("fraud", "champion") is None


def test_promotion_of_the_current_version_changes_nothing(registry: DirectoryRegistry) -> None:
    registry.move("fraud", promote_request("1"))
    again = registry.move("fraud", promote_request("1", key="other"))
    assert (again.changed, len(registry.moves("fraud"))) == (False, 1)


def test_registering_a_version_with_other_files_is_rejected(registry: DirectoryRegistry, tmp_path: Path) -> None:
    assert registry.register("fraud", "1", tmp_path / "model-1").version == "1"
    with pytest.raises(AliasConflict, match="registered with other files"):
        registry.register("fraud", "1", tmp_path / "model-2")
    (tmp_path / "one.bin").write_bytes(b"x")
    found = registry.register("fraud", "4", tmp_path / "one.bin")
    assert found.created_at is not None
    assert Path(found.uri, "one.bin").read_bytes() == b"x"
    with pytest.raises(RegistryError, match="no files"):
        (tmp_path / "empty").mkdir()
        registry.register("fraud", "5", tmp_path / "empty")


@pytest.mark.parametrize("name", ["", "..", "../other", "a/b", ".hidden"])
def test_names_with_path_characters_are_rejected(registry: DirectoryRegistry, name: str) -> None:
    with pytest.raises(RegistryError, match="is not a valid"):
        registry.alias(name, "champion")
    with pytest.raises(RegistryError, match="is not a valid"):
        registry.get("fraud", name)


def test_unreadable_registry_document_is_reported(registry: DirectoryRegistry, tmp_path: Path) -> None:
    for text in ("{", "[]", json.dumps({"aliases": {}})):
        (tmp_path / "registry" / "fraud" / "registry.json").write_text(text)
        with pytest.raises(RegistryError) as error:
            registry.move("fraud", promote_request("1"))
        assert error.value.reason == "corrupt"


def _promote_in_a_process(root: str, to: str, expected: str) -> bool:
    try:
        return DirectoryRegistry(Path(root)).move("fraud", promote_request(to, key=f"p{to}{expected}", expected=expected)).changed
    except AliasConflict:
        return False


def test_one_of_many_concurrent_promotions_wins(registry: DirectoryRegistry, tmp_path: Path) -> None:
    registry.move("fraud", promote_request("1"))
    asked = [(str(tmp_path / "registry"), to, "1") for to in "23" * 4]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        won = pool.starmap(_promote_in_a_process, asked)
        # Leaving the block would end them by SIGTERM, for which a test before this one may have left a handler.
        pool.close()
        pool.join()
    moves = registry.moves("fraud")
    assert len(moves) == 2
    assert won.count(True) == 1
    assert registry.alias("fraud", "champion") == moves[-1].after


class TestInterruptedMove:
    """Where a registry moves and records in two steps, as MLflow does."""

    def test_started_move_is_completed_by_the_same_key(self) -> None:
        pending = recorded_move("a", "1", "2")
        assert decide_move("m", AliasState(current="1", pending=pending), promote_request("2", key="a")) == pending

    def test_unrecorded_move_is_completed_by_the_same_key(self) -> None:
        pending = recorded_move("a", "1", "2")
        found = decide_move("m", AliasState(current="2", pending=pending), promote_request("2", key="a", expected="1"))
        assert found == pending  # though the alias no longer names what was expected: that was us

    @pytest.mark.parametrize("current", ["1", "2"])
    def test_started_move_to_another_version_is_rejected(self, current: str) -> None:
        with pytest.raises(AliasConflict, match="started to move it to 2 before, and is asked for 3 now"):
            decide_move("m", AliasState(current=current, pending=recorded_move("a", "1", "2")), promote_request("3", key="a"))

    def test_alias_moved_by_somebody_else_meanwhile_is_rejected(self) -> None:
        with pytest.raises(AliasConflict, match="names 3: somebody moved it while 1 was being replaced by 2"):
            decide_move("m", AliasState(current="3", pending=recorded_move("a", "1", "2")), promote_request("2", key="a"))

    def test_interrupted_rollback_is_completed_once(self) -> None:
        history = [recorded_move("x", None, "1"), recorded_move("y", "1", "2"), recorded_move("z", "2", "3")]
        pending = recorded_move("a", "3", "2", kind="rollback")
        assert decide_move("m", AliasState(current="2", moves=history, pending=pending), rollback_request("a")) == pending

    def test_recorded_move_is_not_repeated(self) -> None:
        found = decide_move("m", AliasState(current="2", moves=[recorded_move("a", "1", "2")]), promote_request("2", key="a"))
        assert isinstance(found, Moved)
        assert not found.changed


def test_previous_champion_alias_of_another_tool_is_used_after_its_move() -> None:
    assert rollback_target(AliasState(current="5", previous="4")) == "4"
    assert rollback_target(AliasState(current="5", previous="5")) is None
    moves = [recorded_move("x", "5", "4", kind="rollback")]
    assert rollback_target(AliasState(current="7", moves=moves, previous="6")) == "6"
    assert rollback_target(AliasState(current="7", moves=moves, previous="5")) is None, "a rollback took that away"
    assert rollback_target(AliasState(current="7", moves=moves)) == "4"
    assert rollback_target(AliasState(current="7", moves=history("1", "2"), previous="1")) == "2", "that is of the move to 2"


def test_previous_champion_is_ignored_for_other_aliases() -> None:
    assert rollback_target(AliasState(current="4", previous="1"), alias="canary") is None


def test_move_round_trips_through_json() -> None:
    move = recorded_move("a", None, "1")
    assert Move.from_json(move.to_json()) == move
    with pytest.raises(RegistryError, match="not readable"):
        Move.from_json("{}")
