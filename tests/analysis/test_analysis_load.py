"""Cells to pandas: columns, damaged files, mixed digests, several cells of one implementation."""

import hashlib
import json
from pathlib import Path

import pytest

from analysis.store.load import COMMON, MixedDigests, Unreadable, experiments_in, load
from tests.analysis.results_factory import Store, digest


def test_a_row_has_the_common_columns_then_its_own(store: Store) -> None:
    environment = store.environment()
    store.declare("cost", columns={"step_ms": "time", "size": "bytes"})
    store.cell("cost", "unrolled", rows=[{"size": 3, "undeclared": "x"}], library="lib", library_version="1.2")
    loaded = load(store.results, "cost")
    assert list(loaded.rows.columns) == [*COMMON, "step_ms", "size", "undeclared"]
    row = loaded.rows.iloc[0]
    assert row["environment"] == environment[:8]
    shown = ["case", "torch_version", "python_version", "dtype", "threads", "tasks", "inner_steps", "shots", "seed"]
    assert list(row[shown]) == ["plain", "2.9.0", "3.11.9", "float32", 1, 10, 1, 5, 0]
    assert list(row[["library", "library_version", "size", "undeclared"]]) == ["lib", "1.2", 3, "x"]
    assert loaded.warnings == []


def test_experiments_are_those_that_describe_themselves(store: Store) -> None:
    store.declare("b")
    store.declare("a")
    store.environment()
    assert experiments_in(store.results) == ["a", "b"]
    assert experiments_in(store.results / "nowhere") == []


def test_a_cell_of_several_rows_gives_as_many_lines(store: Store) -> None:
    store.declare("e")
    store.cell("e", "pytorch", rows=[{"quantity": "x.grad"}, {"quantity": "y.grad"}], series={"s": {"x": [1, 2]}})
    loaded = load(store.results, "e")
    assert list(loaded.rows["quantity"]) == ["x.grad", "y.grad"]
    assert list(loaded.cells[loaded.rows.index[1]].series["s"]["x"]) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
        (b"[]", "the file is not a JSON object"),
        (b'{"format": 4}', "format 4, expected one of 1, 2, 3"),
        (b'{"format": 1, "status": "ok", "case": 3}', "`case` has the wrong type (int)"),
        (b'{"format": 1, "status": "fine"}', "unknown status 'fine'"),
    ],
)
def test_a_damaged_file_is_left_out_and_named(store: Store, content: bytes, complaint: str) -> None:
    store.declare("e")
    good = store.cell("e", "good")
    good.with_name("bad.0.json").write_bytes(content)
    loaded = load(store.results, "e")
    assert list(loaded.rows["implementation"]) == ["good"]
    relative = good.with_name("bad.0.json").relative_to(store.results).as_posix()
    assert loaded.warnings == [f"{relative}: left out, {complaint}"]


def test_a_cell_that_was_edited_by_hand_is_left_out(store: Store) -> None:
    store.declare("e")
    good = store.cell("e", "good", rows=[{"loss": 0.25}])
    rest = json.dumps(json.loads(good.read_text()) | {"format": 2}, indent=1).removeprefix("{\n")
    whole = f'{{\n "digest": "{hashlib.sha256(rest.encode()).hexdigest()}",\n{rest}'
    good.write_text(whole)
    assert load(store.results, "e").warnings == []
    for changed in (whole.replace("0.25", "0.24"), "{\n" + rest):
        good.write_text(changed)
        loaded = load(store.results, "e")
        assert loaded.rows.empty and "left out, it was changed after it was written" in loaded.warnings[0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"samples": {"step_ms": [[1.0, -1.0]]}}, "a sample is negative"),
        ({"samples": {"step_ms": [1.0]}}, "not a list of numbers"),
        ({"observations": {"loss": ["a"]}}, "not a list of numbers"),
        ({"series": {"s": {"x": [1], "y": [1, 2]}}}, "columns of unequal length"),
        ({"rows": [{"a": [1]}]}, "neither number nor text"),
        ({"status": None}, "`status` is missing"),
    ],
)
def test_wrong_contents_are_left_out(store: Store, changes: dict[str, object], complaint: str) -> None:
    store.declare("e")
    store.cell("e", "bad", **changes)
    loaded = load(store.results, "e")
    assert loaded.rows.empty
    assert complaint in loaded.warnings[0]


def test_foreign_and_unfinished_files_do_not_count(store: Store) -> None:
    store.declare("e")
    file = store.cell("e", "mine")
    foreign = json.loads(file.read_text()) | {"experiment": "other"}
    file.with_name("foreign.0.json").write_text(json.dumps(foreign))
    file.with_name(".mine.0.json").write_text("{")
    file.with_name("folder.json").mkdir()
    loaded = load(store.results, "e")
    assert list(loaded.rows["implementation"]) == ["mine"]
    assert len(loaded.warnings) == 2
    assert "belongs to the experiment 'other'" in loaded.warnings[1]
    assert str(store.results) not in " ".join(loaded.warnings)


def test_a_missing_environment_costs_its_columns_only(store: Store) -> None:
    store.declare("e")
    store.cell("e", "lost", environment="0" * 64)
    loaded = load(store.results, "e")
    assert loaded.rows["torch_version"].iloc[0] == ""
    assert "environments" in loaded.warnings[0]


def test_an_experiment_without_a_folder_is_one_line(store: Store) -> None:
    with pytest.raises(Unreadable, match="cells/e: there is no such folder"):
        load(store.results, "e")


@pytest.mark.parametrize("field", ["stream_digest", "init_digest"])
def test_rows_of_one_case_with_different_draws_are_refused(store: Store, field: str) -> None:
    store.declare("e")
    store.cell("e", "here")
    store.cell("e", "there", **{field: digest("other")})
    with pytest.raises(MixedDigests) as refusal:
        load(store.results, "e")
    message = str(refusal.value)
    assert all(word in message for word in ("e, case plain", "here", "there", field, "--fresh"))
    assert "\n" not in message


def test_different_draws_are_fine_in_other_cases_and_in_rows_that_failed(store: Store) -> None:
    store.declare("e")
    store.cell("e", "here")
    store.cell("e", "there", {"seed": 1})
    store.cell("e", "failed", status="failed", reason="no draws", stream_digest="", init_digest="")
    assert len(load(store.results, "e").rows) == 3


def test_cells_of_two_torch_versions_or_round_groups_are_both_kept(store: Store) -> None:
    store.declare("e")
    store.cell("e", "i")
    store.cell("e", "i", environment=store.environment(torch="1.13.1"))
    store.cell("e", "i", round_group="g2")
    rows = load(store.results, "e").rows
    assert sorted(zip(rows["torch_version"], rows["round_group"].fillna(""), strict=True)) == [
        ("1.13.1", ""),
        ("2.9.0", ""),
        ("2.9.0", "g2"),
    ]


def test_a_newer_cell_replaces_the_older_one_of_the_same_setting(store: Store) -> None:
    store.declare("e")
    store.cell("e", "i", key="b", rows=[{"v": "old"}], finished="2025-01-01T00:00:00Z")
    store.cell("e", "i", key="a", rows=[{"v": "new"}], finished="2025-01-02T00:00:00Z")
    loaded = load(store.results, "e")
    assert list(loaded.rows["v"]) == ["new"]
    assert "1 older cell is replaced" in loaded.warnings[0]


def test_what_is_not_ok_keeps_its_error_but_no_timing(store: Store) -> None:
    store.declare("e", columns={"error": "", "step_ms": "", "first_step_cold_s": ""})
    row = {"error": 0.5, "step_ms": 1.0, "first_step_cold_s": 2.0}
    store.cell("e", "i", status="wrong", reason="r", rows=[row], samples={"step_ms": [[1.0]]})
    loaded = load(store.results, "e")
    assert loaded.rows["error"].iloc[0] == 0.5
    assert loaded.rows[["step_ms", "first_step_cold_s"]].isna().all(axis=None)
    assert loaded.cells[0].samples == {}


def test_a_folder_without_cells_gives_no_rows(store: Store, tmp_path: Path) -> None:
    store.declare("e")
    assert load(store.results, "e").rows.empty
    with pytest.raises(Unreadable, match="no such folder"):
        load(tmp_path, "e")
