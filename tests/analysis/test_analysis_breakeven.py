"""After how many steps compiling has paid off: the column, its reference, and how tables show it."""

from typing import Any

import pytest

from tests.analysis.results_factory import Store
from tests.analysis.tables import lines_of, tables

COMPILING: dict[str, Any] = {
    "columns": {"execution": "how", "step_ms": "", "first_step_cold_s": ""},
    "shown": ["execution", "step_ms", "breakeven_steps"],
}


def started(store: Store, name: str, step_ms: float, first_s: float | None, compiled: bool, **changes: Any) -> None:
    """One cell with its first step."""
    row = {"first_step_cold_s": first_s, "compiled": compiled, "execution": "compiled" if compiled else "eager"}
    store.cell("e", name, rows=[row], samples={"step_ms": [[step_ms]]}, **({"round_group": "g"} | changes))


def test_breakeven_is_against_the_fastest_that_does_not_compile(store: Store) -> None:
    store.declare("e", **COMPILING)
    started(store, "slow", 8.0, 0.5, compiled=False)
    started(store, "fast", 4.0, 1.0, compiled=False)
    started(store, "pays", 3.0, 10.5, compiled=True)  # 9.5 s more at the start, 1 ms less each step
    started(store, "much", 1.0, 38.0, compiled=True)
    started(store, "never", 4.0, 0.5, compiled=True)
    started(store, "at-once", 3.0, 0.5, compiled=True)
    started(store, "unknown", 3.0, None, compiled=True)
    frame, text = tables(store)
    frame = frame.set_index("implementation")
    steps = frame["breakeven_steps"].dropna().to_dict()
    assert steps == {"pays": "9500", "much": "12334", "never": "never", "at-once": "1"}
    assert set(frame["breakeven_against"].dropna()) == {"fast"}
    rows = {row[0]: row[1:] for row in lines_of(text)}
    assert rows["implementation"] == ["execution", "step_ms", "breakeven_steps"]
    assert rows["`much`"] == ["compiled", "1", "12300"]
    assert rows["`never`"][2] == "never"
    assert rows["`fast`"] == ["eager", "4", ""]
    assert "`breakeven_steps`: how many steps" in text


@pytest.mark.parametrize(
    "other", [{"round_group": "g2"}, {"computes": "fomaml"}, {"status": "wrong", "reason": "r"}, {"round_group": None}]
)
def test_breakeven_needs_one_that_took_turns_and_computes_the_same(store: Store, other: dict[str, Any]) -> None:
    store.declare("e", **COMPILING)
    started(store, "compiled", 1.0, 9.0, compiled=True)
    started(store, "plain", 4.0, 1.0, compiled=False, **other)
    frame, _ = tables(store)
    assert "breakeven_steps" not in frame


def test_an_overview_has_words_beside_the_range(store: Store) -> None:
    store.declare("e", **COMPILING)
    for number, step_ms in enumerate((1.0, 2.0, 3.0, 5.0)):
        for name, compiled in (("plain", False), ("compiled", True)):
            row = {"first_step_cold_s": 9.0 if compiled else 0.0, "compiled": compiled}
            samples = {"step_ms": [[step_ms if compiled else 4.0]]}
            store.cell("e", name, {"name": f"k{number}"}, rows=[row], samples=samples, round_group=f"g{number}")
    _, text = tables(store)
    assert ["`compiled`", "maml", "4 ok", "1–5", "3000–9000, never"] in lines_of(text.split("## k0")[0])
