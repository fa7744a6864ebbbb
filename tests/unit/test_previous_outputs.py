"""What is found and removed of an earlier execution, in a storage that counts the requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sc.errors import StorageError
from sc.previous_outputs import MOST_OF_A_RUN, Previous, find_previous, remove_previous
from sc.storage import Entry
from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.fakes.stored_runs import OUT, stored

MADE = (
    "status_code",
    "stdout",
    "stderr",
    "results/x",
    "results/d/status_code",
    "attempts/1/stdout",
)
STRANGE = (
    *(
        "notes",
        "s",
        "s/x",
        "stdout!",
        "stdout!/x",
        "stdout/x",
        "results!",
        "results-/x",
        "Results/x",
    ),
    *("resultsx", "attempts", "attempts-1/x", "check/results/x", "status_code2", "stderr/x", "!"),
)


def storage_with(keys: Iterable[str], by_tree: bool = False) -> MemoryStorage:
    storage = MemoryStorage(Clock(), by_tree)
    for key in keys:
        storage.put(key, b"0")
    storage.requests.clear()
    return storage


def forget(storage: MemoryStorage, runs: Iterable[str], below: str = OUT, page: int = 1000) -> None:
    remove_previous(storage, find_previous(storage, runs, below, page))


def test_find_previous_where_nothing_lies_costs_one_list() -> None:
    storage = storage_with([f"{OUT}/.sc/job/parts/{n}.json" for n in range(3000)])
    assert find_previous(storage, [f"{OUT}/{n}" for n in range(1000)], OUT) == {}
    assert storage.requests == {"list": 1}


def test_find_previous_has_no_effect() -> None:
    storage = storage_with(f"{OUT}/a/{name}" for name in (*MADE, *STRANGE))
    before = dict(storage.objects)
    assert find_previous(storage, [f"{OUT}/a"], OUT) == {
        f"{OUT}/a": Previous(True, tuple(sorted(set(MADE) - {"status_code"})))
    }
    assert storage.objects == before


@pytest.mark.parametrize("by_tree", [False, True])
def test_remove_previous_leaves_what_sc_has_not_made(by_tree: bool) -> None:
    runs = [
        f"{OUT}/{name}" for name in ("a", "a1", "a-b", "b/results", "results/1", "b/c/attempts/x")
    ]
    others = [f"{OUT}/c", f"{OUT}/a!", f"{OUT}/a/b", f"{OUT}/results/10", OUT, f"{OUT}-2/a"]
    made = [f"{run}/{name}" for run in runs for name in MADE]
    strange = [f"{run}/{name}" for run in runs for name in STRANGE]
    strange += [f"{run}/{name}" for run in others for name in MADE]
    for page in (1, 2, 3, 1000):
        storage = storage_with([*made, *strange], by_tree)
        forget(storage, runs, OUT, page)
        assert sorted(storage.objects) == sorted(set(strange) - set(made))


def test_remove_previous_removes_codes_before_anything_else() -> None:
    class Dying(MemoryStorage):
        """It is down after the first request that removes something."""

        def delete(self, places: Iterable[str]) -> None:
            super().delete(places)
            self.is_down = True

    storage = Dying(Clock())
    for number in range(3):
        stored(storage, f"{OUT}/{number}", b"0", results=2)
    previous = find_previous(storage, [f"{OUT}/{number}" for number in range(3)], OUT)
    with pytest.raises(StorageError):
        remove_previous(storage, previous)
    assert len(storage.objects) == 3 * 4
    assert not [place for place in storage.objects if place.endswith("status_code")]


def test_remove_previous_of_few_runs_leaves_the_others() -> None:
    storage = storage_with(f"{OUT}/{number}/{name}" for number in range(9) for name in MADE)
    found = find_previous(storage, [f"{OUT}/{number}" for number in range(9)], OUT)
    remove_previous(storage, {path: found[path] for path in (f"{OUT}/3", f"{OUT}/5")})
    assert storage.requests == {"list": 1, "delete": 2}
    assert len(storage.objects) == 7 * len(MADE)
    remove_previous(storage, {})
    assert storage.requests == {"list": 1, "delete": 2}


def test_many_results_of_one_run_are_removed_without_being_kept() -> None:
    storage = storage_with(f"{OUT}/a/results/{number}" for number in range(20_000))
    for run in ("a", "b"):
        stored(storage, f"{OUT}/{run}", b"0", results=1)
    storage.requests.clear()
    found = find_previous(storage, [f"{OUT}/a", f"{OUT}/b"], OUT)
    assert found[f"{OUT}/a"] == Previous(True, ("stderr", "stdout"), has_more=True)
    assert found[f"{OUT}/b"] == Previous(True, ("results/0.csv", "stderr", "stdout"))
    assert storage.requests["list"] <= 3
    remove_previous(storage, found)
    assert storage.objects == {}


def test_results_of_a_run_up_to_the_limit_are_kept() -> None:
    storage = storage_with(f"{OUT}/a/results/{number}" for number in range(MOST_OF_A_RUN))
    found = find_previous(storage, [f"{OUT}/a"], OUT)
    assert len(found[f"{OUT}/a"].names) == MOST_OF_A_RUN


def test_outputs_of_others_between_the_runs_are_leapt_over() -> None:
    runs = [f"{OUT}/{number:06}" for number in range(0, 3000, 500)]
    storage = storage_with(
        f"{OUT}/{number:06}/results/{n}" for number in range(3000) for n in range(30)
    )
    found = find_previous(storage, runs, OUT)
    assert sorted(found) == runs
    assert storage.requests["list"] <= 2 * len(runs)


def test_a_server_without_start_after_is_read_to_the_end_once() -> None:
    class Simple(MemoryStorage):
        def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Entry]:
            return super().list(place, "", end_before)

    storage = Simple(Clock())
    for run in range(0, 100, 10):
        stored(storage, f"{OUT}/{run:03}", b"0")
    for other in range(100):
        storage.put(f"{OUT}/{other:03}/notes", b"")
    storage.requests.clear()
    runs = [f"{OUT}/{run:03}" for run in range(0, 100, 10)]
    assert sorted(find_previous(storage, runs, OUT, page=3)) == runs
    assert storage.requests["list"] <= 2


def test_runs_elsewhere_cost_a_list_for_each_folder() -> None:
    runs = [f"s3://other/{folder}/{number}" for folder in "ab" for number in range(300)]
    storage = storage_with(f"{run}/{name}" for run in runs for name in MADE)
    assert len(find_previous(storage, runs, OUT)) == 600
    pages = 2 * -(-300 * len(MADE) // 1000)
    assert storage.requests == {"list": pages}


def test_runs_in_no_folder_of_a_bucket_are_listed_by_themselves() -> None:
    storage = storage_with([*(f"s3://one/{n}/results/x" for n in range(3)), "s3://one/other/x"])
    forget(storage, [f"s3://one/{n}" for n in range(4)])
    assert sorted(storage.objects) == ["s3://one/other/x"]
    assert storage.requests["list"] == 4
    storage = storage_with(f"s3://one/{n}/results/x" for n in range(3))
    forget(storage, [f"s3://one/{n}" for n in range(4)], "s3://one")
    assert storage.objects == {}
    assert storage.requests["list"] == 1


@pytest.mark.parametrize("run", [OUT, f"{OUT}/", f"{OUT}//a", f"{OUT}/a/", f"{OUT}/\udcff"])
def test_odd_places_of_runs_are_found(run: str) -> None:
    storage = storage_with(f"{run.rstrip('/')}/{name}" for name in MADE)
    storage.put(f"{OUT}/.sc/job/recipe.json", b"")
    forget(storage, [run])
    assert sorted(storage.objects) == [f"{OUT}/.sc/job/recipe.json"]


def test_a_folder_of_this_machine_is_left_to_the_executor() -> None:
    class Near(MemoryStorage):
        def local_path(self, place: str) -> str:
            return place

    storage = Near(Clock())
    storage.put("/out/a/results/x", b"")
    storage.requests.clear()
    assert find_previous(storage, ["/out/a"], "/out") == {}
    assert storage.requests == Counter()


SEGMENT = st.text("!-/abrs\U0010ffff", min_size=1, max_size=3)
TREES = st.lists(st.tuples(SEGMENT, st.sampled_from((*MADE, *STRANGE))), max_size=40)


def is_run(path: str, runs: list[str]) -> bool:
    """Whether it can be one beside these: none is inside of another, and none has an empty name."""
    if "" in path.split("/"):
        return False
    return not any(
        (path + "/").startswith(one + "/") or (one + "/").startswith(path + "/") for one in runs
    )


@settings(max_examples=400)
@given(
    TREES,
    st.lists(SEGMENT, max_size=12),
    st.sampled_from([1, 2, 3, 7, 1000]),
    st.booleans(),
)
def test_all_that_sc_made_is_removed_and_nothing_else(
    tree: list[tuple[str, str]], segments: list[str], page: int, by_tree: bool
) -> None:
    runs: list[str] = []
    for path in [*segments, *(segment for segment, _ in tree[::3])]:
        if is_run(path, runs):
            runs.append(path)
    keys = {f"{path}/{name}" for path, name in tree if "" not in path.split("/")}
    storage = storage_with((f"{OUT}/{key}" for key in keys), by_tree)
    forget(storage, [f"{OUT}/{run}" for run in runs], OUT, page)
    assert sorted(storage.objects) == sorted(
        f"{OUT}/{key}" for key in keys if not is_made(key, runs)
    )


def is_made(key: str, runs: list[str]) -> bool:
    return any(
        key in (f"{run}/status_code", f"{run}/stdout", f"{run}/stderr")
        or key.startswith((f"{run}/results/", f"{run}/attempts/"))
        for run in runs
    )
