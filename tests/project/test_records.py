"""What crosses a process, reaches the store or the tables is typed: decoded JSON stays with those who read it."""

import ast
import json
import math
import re
import sys
from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from experiments.harness.measure.share import WHOLE
from experiments.harness.records import Case, Environment, Parameters, Result, Status, StoredCell, messages
from experiments.harness.records.cells import FORMATS, check_result, parse_cell, parse_environment, seal, sealed
from experiments.harness.records.messages import Describe, End, Implementation, Machine, Open, Pin, Progress
from experiments.harness.records.serial import decode, encode
from experiments.harness.status import ROOT, Wrong

PACKAGES = ("analysis", "baselines", "experiments", "maml_bench")
READERS = {f"experiments/harness/records/{name}.py" for name in ("cells", "fields", "serial")}
UNTYPED = re.compile(r"(Any|dict\[str, Any\]|Mapping\[str, Any\])( \| None)?")
CASE = Case("cost", "notebook", Parameters(tasks=10, inner_lr=0.01, model={"width": 40}), "cpu", "float32", 0, 1)
CELL = StoredCell(
    case=CASE,
    implementation="compiled",
    computes="maml",
    round_group="20260101T000000000000",
    rows=[{"compiled": True, "execution": "graph", "loss": 0.5, "none": None}],
    samples={"step_ms": [[1.0, 2.5], [0.75]]},
    series={"train": {"iteration": [1.0, 2.0], "query_loss": [0.5, 0.25]}},
    sources={"experiments/cost.py": "0" * 64},
    timeout_s=60.0,
    memory_gib=None,
)


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the project after its path."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text())


def test_only_readers_and_writers_of_json_see_it_decoded() -> None:
    named = {
        path for path, tree in modules() for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "Json"
    }
    assert named == READERS


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class is a dataclass or a named tuple."""
    return any(re.match(r"dataclass|NamedTuple", ast.unparse(part)) for part in (*node.decorator_list, *node.bases))


def test_no_field_of_a_record_is_untyped() -> None:
    classes = [(path, node) for path, tree in modules() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    fields = [
        (path, record.name, ast.unparse(field.annotation))
        for path, record in classes
        if is_record(record)
        for field in record.body
        if isinstance(field, ast.AnnAssign)
    ]
    assert len(fields) > 300
    assert [field for field in fields if UNTYPED.fullmatch(field[2])] == []


@pytest.mark.parametrize(
    "message",
    [
        Describe("cpu", {"mine": "mine.py"}),
        Machine("cpu", False, {"mine": Implementation(helpers=("external_mine",))}, Environment(cores=2)),
        Open(CASE, "compiled", None, None, "time", 2, "cache", None, None),
        Pin((0, 1)),
        Progress(0.5),
        End(Status.OOM, "no memory", Result(samples={"step_ms": [1.0]}, rows=[{"loss": 0.5}]), sources={"a": "b"}),
        End(Status.FAILED, "it died", killed=True),
    ],
)
def test_a_message_arrives_as_it_was_sent(message: messages.Message) -> None:
    arrived = decode(encode(message))
    assert arrived == message and type(arrived) is type(message)
    for of_tuple in ("cores", "helpers"):
        assert isinstance(getattr(arrived, of_tuple, ()), tuple)
    if isinstance(arrived, Open):
        assert arrived.case.params.part("model").integer("width") == 40


def test_every_message_has_a_kind_of_its_own_and_anything_else_is_refused() -> None:
    kinds = [kind.__name__ for kind in get_args(messages.Message)]
    assert len(kinds) == len(set(kinds)) > 10
    for text in (b"[]", b"{}", b'{"kind": "Case"}', b"1"):
        with pytest.raises(ValueError, match="not a message"):
            decode(text)


def test_a_cell_is_read_as_it_was_written() -> None:
    text = seal(CELL)
    again = parse_cell(json.loads(text))
    assert sealed(text.encode()) and again == replace(CELL, samples=again.samples, series=again.series)
    assert [list(values) for values in again.samples["step_ms"]] == [[1.0, 2.5], [0.75]]
    assert list(again.series["train"]["query_loss"]) == [0.5, 0.25]
    assert again.case.params.part("model").integer("width") == 40
    assert parse_environment(asdict(Environment(torch="2.13.0", cores=2))) == Environment(torch="2.13.0", cores=2)


def test_what_json_has_no_number_for_is_null_and_comes_back_as_nan() -> None:
    text = seal(replace(CELL, observations={"loss": [0.5, math.inf]}, rows=[{"loss": math.nan}]))
    again = parse_cell(json.loads(text))
    assert again.rows == [{"loss": None}]
    first, second = again.observations["loss"]
    assert first == 0.5 and math.isnan(second)


def test_committed_cells_of_every_format_are_read() -> None:
    files = sorted((ROOT / "results" / "published").glob("*/cells/*/*/*.json"))
    by_format: dict[int, Path] = {}
    for file in files:
        raw = json.loads(file.read_text())
        by_format.setdefault(raw["format"], file)
        cell = parse_cell(raw)
        assert raw["format"] == 1 or sealed(file.read_bytes()), file
        assert cell.experiment == file.parts[-3] and file.name.startswith(cell.implementation), file
        assert cell.status != Status.OK or cell.rows, file
    assert sorted(by_format) == list(FORMATS)


@pytest.mark.parametrize(
    ("name", "ask", "said"),
    [
        ("tasks", Parameters.text, "the parameter tasks is a int"),
        ("model", Parameters.integer, "the parameter model is a dict"),
        ("tasks", Parameters.flag, "the parameter tasks is a int"),
    ],
)
def test_a_parameter_of_another_type_is_named(name: str, ask: object, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        ask(CASE.params, name)  # type: ignore[operator]
    with pytest.raises(KeyError):
        CASE.params.integer("absent")
    assert CASE.params.integer("absent", 3) == 3 and not CASE.params.flag("absent") and CASE.params.part("absent") == {}


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "it is a NoneType, not a Result"),
        (Result(row=[0.5]), "a row is not a JSON object"),  # type: ignore[arg-type]
        (Result(rows=3), "`rows` has the wrong type (int)"),  # type: ignore[arg-type]
        (Result(row={"loss": np.float32(0.5)}), "float32 is not JSON serializable"),  # type: ignore[dict-item]
        (Result(row={"loss": {"mean": 0.5}}), "`rows`: loss is neither number nor text"),  # type: ignore[dict-item]
        (Result(row={"count": 10**400}), "`rows`: count is a whole number of more than 64 bits"),
        (Result(row={"name": "a\udc80b"}), "surrogates not allowed"),
        (Result(samples={"step_ms": [10**400]}), "too large to convert to float"),
        (Result(samples={"step_ms": [1.0, -1.0]}), "a sample is negative or not a number"),
        (Result(samples={"step_ms": 1.0}), "not a list of numbers"),  # type: ignore[dict-item]
        (Result(observations={"loss": ["text"]}), "not a list of numbers"),  # type: ignore[list-item]
        (Result(series={"train": {"iteration": [1.0], "loss": []}}), "columns of unequal length"),
    ],
)
def test_what_an_experiment_returns_and_no_cell_can_hold_fails_with_one_line(
    result: Result, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])  # a worker notes what it imports
    from experiments.harness.processes.worker import Session

    def measure() -> Generator[float, None, Result]:
        yield from ()
        return result

    session = Session(Open(CASE, "mine", None, None, "time", 0, None, None, None), lambda opening: WHOLE)
    session.work = measure()
    end = session.turn()
    assert isinstance(end, End) and end.status == Status.FAILED and decode(encode(end)) == end
    assert end.reason.startswith("what was measured cannot be stored: ") and said in end.reason


def test_what_an_experiment_may_return_is_kept() -> None:
    check_result(Result(row={"loss": math.nan, "name": "x", "none": None}, samples={"step_ms": []}, rows=[]))
    check_result(Result(row={"loss": np.float64(0.5)}, series={"train": {"loss": [math.inf]}}, note="a note"))


@pytest.mark.parametrize("row", [{"loss": (1, 2)}, [0.5], {"loss": np.float32(0.5)}])
def test_a_failure_whose_row_no_cell_can_hold_keeps_its_status(row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    from experiments.harness.processes.worker import Session

    def measure() -> Generator[float, None, Result]:
        yield from ()
        raise Wrong("off by one", row)

    session = Session(Open(CASE, "mine", None, None, "time", 0, None, None, None), lambda opening: WHOLE)
    session.work = measure()
    end = session.turn()
    assert isinstance(end, End) and end.status == Status.WRONG and end.result == Result()
    assert end.reason.startswith("off by one; its row cannot be stored: ")


def test_progress_that_is_no_number_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    from experiments.harness.processes.worker import Session

    session = Session(Open(CASE, "mine", None, None, "time", 0, None, None, None), lambda opening: WHOLE)
    session.work = iter(["half"])  # type: ignore[assignment]
    end = session.turn()
    assert isinstance(end, End) and end.status == Status.FAILED and "could not convert" in end.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": {"a": [[10**400]]}}, "`samples`: int too large"),
        ({"rows": [{"a": 10**400}]}, "more than 64 bits"),
        ({"case": {"params": {"study": {"factors": {"width": 10**400}}}}}, "width is not a number from 0 on"),
        ({"case": {"params": {"inner_steps": [1]}}}, "`inner_steps` has the wrong type"),
        ({"case": {"seed": None}}, "`seed` is missing"),
    ],
)
def test_a_damaged_cell_is_refused_with_one_line(change: dict[str, Any], said: str) -> None:
    raw = json.loads(seal(CELL))
    case = raw["case"] | change.get("case", {})
    with pytest.raises(ValueError, match=said):
        parse_cell(raw | change | {"case": case})


def test_a_parameter_that_is_null_is_absent() -> None:
    raw = json.loads(seal(CELL))
    raw["case"]["params"]["study"] = None
    assert parse_cell(raw).case.factors == {}
