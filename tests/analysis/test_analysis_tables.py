"""The CSV and Markdown tables of synthetic cells."""

import re
from typing import Any

import numpy as np
import pytest

from analysis.columns.frame import with_computed
from analysis.columns.losses import Agreement
from analysis.statistics.sections import sections
from analysis.store.load import load
from analysis.text import escape
from tests.analysis.results_factory import Store
from tests.analysis.tables import lines_of, tables

PROCESSES = [[2.0, 2.0, 9.0], [2.02, 2.02], [1.98, 1.98]]
STEP: dict[str, Any] = {
    "columns": {"step_ms": "time of a step (ms)", "peak_gpu_mib": "GPU memory (MiB)"},
    "shown": ["step_ms", "peak_gpu_mib"],
    "references": ["unrolled"],
    "ratio_of": "step_ms",
    "best_first": "step_ms",
}


def scaled(factor: float) -> dict[str, list[list[float]]]:
    return {"step_ms": [[factor * sample for sample in process] for process in PROCESSES]}


def test_times_ratios_and_verdicts(store: Store) -> None:
    store.declare("e", **STEP)
    for name, factor in (("unrolled", 1.0), ("twice", 0.5), ("half", 2.0), ("equal", 1.001)):
        store.cell("e", name, round_group="g", samples=scaled(factor))
    store.cell("e", "noisy", round_group="g", samples={"step_ms": [[1.0], [2.0], [4.0]]})
    frame, text = tables(store)
    frame = frame.set_index("implementation")
    assert list(frame.columns[frame.columns.get_loc("step_ms") :]) == [
        "step_ms",
        "step_ms_lo",
        "step_ms_hi",
        "speedup_vs_unrolled",
        "speedup_vs_unrolled_lo",
        "speedup_vs_unrolled_hi",
        "verdict_vs_unrolled",
        "peak_gpu_mib",
    ]
    assert frame["verdict_vs_unrolled"].to_dict() == {
        "unrolled": "reference",
        "twice": "faster",
        "half": "slower",
        "equal": "same",
        "noisy": "undecided",
    }
    assert frame.loc["twice", "speedup_vs_unrolled"] == pytest.approx(2.0)
    assert frame.loc["twice", "step_ms"] == pytest.approx(1.0)
    header, *rows = lines_of(text)
    assert header == ["implementation", "step_ms", "speedup_vs_unrolled"]
    assert [row[0] for row in rows] == ["`twice`", "`noisy`", "`unrolled`", "`equal`", "`half`"]
    assert rows[0] == ["`twice`", "1.00 (0.98–1.03)", "2.00× (2.00–2.00) faster"]
    assert ["`half`", "4.00 (3.90–4.10)", "0.500× (0.500–0.500) slower"] in rows


def test_ratios_exist_only_inside_a_round_group(store: Store) -> None:
    store.declare("e", **STEP)
    store.cell("e", "unrolled", round_group="g1", samples=scaled(1), finished="2025-01-01T00:00:00Z")
    store.cell("e", "early", round_group="g1", samples=scaled(0.5), finished="2025-01-01T00:00:00Z")
    store.cell("e", "unrolled", round_group="g2", samples=scaled(10), finished="2025-02-01T00:00:00Z")
    store.cell("e", "late", round_group="g2", samples=scaled(2), finished="2025-02-01T00:00:00Z")
    store.cell("e", "never", status="failed", reason="no luck")
    frame, text = tables(store)
    ratios = frame.set_index("implementation")["speedup_vs_unrolled"]
    assert ratios["early"] == pytest.approx(2)
    assert ratios["late"] == pytest.approx(5)
    first, second = text.split("## plain, round group ")[1:]
    assert first.startswith("1 of 2")
    assert [row[0] for row in lines_of(first)[1:]] == ["`early`", "`unrolled`", "`never`"]
    assert [row[0] for row in lines_of(second)[1:]] == ["`late`", "`unrolled`"]
    assert "compared only inside one round group" in text


def test_seeds_timed_in_groups_of_their_own_share_a_table(store: Store) -> None:
    store.declare("e", **STEP)
    for seed, ratio in ((0, 0.5), (1, 0.125)):
        store.cell("e", "unrolled", {"seed": seed}, round_group=f"g{seed}", samples=scaled(1))
        store.cell("e", "fast", {"seed": seed}, round_group=f"g{seed}", samples=scaled(ratio))
    experiment = load(store.results, "e")
    (section,) = sections(experiment, with_computed(experiment))
    fast = section.rows.set_index("implementation").loc["fast"]
    assert section.rounds == 1
    assert fast["seeds"] == 2
    assert fast["step_ms"] == pytest.approx((1 + 0.25) / 2)
    assert fast["speedup_vs_unrolled"] == pytest.approx(4)  # the geometric mean of 2 and 8
    assert fast["verdict_vs_unrolled"] == "undecided"


@pytest.mark.parametrize("status", ["wrong", "failed", "timeout", "diverged", "oom", "expected", "unavailable"])
def test_what_is_not_ok_shows_its_reason_and_no_timing(store: Store, status: str) -> None:
    store.declare("e", **STEP | {"columns": {"step_ms": "", "error": ""}, "shown": ["step_ms", "error"]})
    store.cell("e", "unrolled", round_group="g", samples=scaled(3))
    row = {"error": 0.25, "step_ms": 1.2345}
    store.cell("e", "bad", status=status, reason="it is so", round_group="g", samples=scaled(1), rows=[row])
    frame, text = tables(store)
    bad = frame.set_index("implementation").loc["bad"]
    assert bad["error"] == 0.25
    assert bad.filter(regex="step_ms|speedup|verdict").isna().all()
    assert lines_of(text)[-1] == ["`bad`", "", "", "0.250", f"{status}: it is so"]


def test_an_empty_column_is_left_out_with_its_reason(store: Store) -> None:
    store.declare("e", **STEP)
    empty = {"peak_gpu_mib": "no CUDA device in this run"}
    store.cell("e", "unrolled", round_group="g", samples=scaled(1), rows=[{"peak_gpu_mib": None}], empty=empty)
    frame, text = tables(store)
    assert frame["peak_gpu_mib"].isna().all()
    assert "peak_gpu_mib" not in lines_of(text)[0]
    assert "Empty and not shown: `peak_gpu_mib` (no CUDA device in this run)." in text


def test_a_column_empty_in_one_case_is_named_beneath_that_table(store: Store) -> None:
    store.declare("e", columns={"a": "A", "b": "B"}, shown=["a", "b"])
    store.cell("e", "i", {"name": "one"}, rows=[{"a": 1.5, "b": 2.5}])
    store.cell("e", "i", {"name": "two"}, rows=[{"a": 1.5}], empty={"b": "not here"})
    _, text = tables(store)
    one, two = text.split("## one")[1].split("## two")
    assert "Empty and not shown" not in one
    assert "Empty and not shown: `b` (not here)." in two.split("\n---\n")[0]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a | b", r"a \| b"),
        ("`code`", r"\`code\`"),
        ("two\nlines", "two lines"),
        ("<script>", "&lt;script&gt;"),
        ("a\\|b", r"a\\\|b"),
        ("*bold* __init__ step_ms", r"\*bold\* \_\_init\_\_ step_ms"),
        ("[text](target) &amp;", r"\[text\](target) &amp;amp;"),
    ],
)
def test_escaping(raw: str, shown: str) -> None:
    assert escape(raw) == shown


def test_texts_of_libraries_cannot_break_the_table(store: Store) -> None:
    store.declare("e", columns={"v": "V"}, shown=["v"])
    store.cell("e", "i|j", rows=[{"v": "x | <b>y</b>"}], note="a `note`\nof two lines")
    store.cell("e", "k", status="failed", reason="Error: | `__init__` <module>\n  line 2")
    _, text = tables(store)
    header, *rows = lines_of(text)
    assert header == ["implementation", "v", "status"]
    assert all(len(row) == 3 for row in rows)
    assert rows[0] == [r"i\|j", r"x \| &lt;b&gt;y&lt;/b&gt;", r"ok: a \`note\` of two lines"]
    assert rows[1][2] == r"failed: Error: \| \`\_\_init\_\_\` &lt;module&gt; line 2"


def compare(store: Store, **losses: dict[int, list[float]]) -> None:
    """One cell per implementation and seed with these held-out losses."""
    store.declare("e", columns={"query_loss": "loss"}, shown=["query_loss"], compare="query_loss")
    for name, by_seed in losses.items():
        for seed, values in by_seed.items():
            store.cell("e", name, {"seed": seed}, observations={"query_loss": values})


def test_paired_comparison_over_seeds(store: Store) -> None:
    compare(
        store,
        unrolled={0: [1.0, 3.0], 1: [10.0, 30.0]},
        alike={0: [1.001, 3.0], 1: [10.0, 30.0]},
        better={0: [0.5, 1.5], 1: [9.5, 28.5]},
    )
    frame, text = tables(store)
    frame = frame.set_index(["implementation", "seed"]).sort_index()
    assert frame.loc[("unrolled", 0), "query_loss"] == 2.0
    assert set(frame["query_loss_reference"]) == {"unrolled"}
    assert frame.loc["alike", "query_loss_verdict"].tolist() == ["same", "same"]
    assert frame.loc[("better", 0), "query_loss_difference"] == -1.0
    row = {line[0]: line for line in lines_of(text)}
    assert row["implementation"] == ["implementation", "seeds", "query_loss", "query_loss_difference"]
    assert row["`unrolled`"][1] == "2"
    assert row["`unrolled`"][3] == "reference"
    assert row["`better`"][3] == "-1.00 (-1.00 to -1.00) better"
    assert row["`unrolled`"][2].startswith("11.0 (")


def test_a_comparison_needs_two_seeds(store: Store) -> None:
    compare(store, unrolled={0: [1.0]}, other={0: [2.0]})
    frame, text = tables(store)
    assert frame.set_index("implementation").loc["other", "query_loss_verdict"] == "undecided"
    assert "+1 undecided" in text


def test_the_reference_computes_the_same(store: Store) -> None:
    store.declare("e", columns={"loss": ""}, compare="loss")
    for name, computes in (("notebook", "maml"), ("unrolled", "maml"), ("b-first", "fomaml"), ("a-first", "fomaml")):
        store.cell("e", name, computes=computes, observations={"loss": [1.0, 2.0]})
    frame, _ = tables(store)
    references = frame.set_index("implementation")["loss_reference"].to_dict()
    assert references == {"notebook": "unrolled", "unrolled": "unrolled", "b-first": "a-first", "a-first": "a-first"}


def test_agreement_in_its_dtype_only(store: Store) -> None:
    store.declare("e", more=[Agreement(series="train", curve="loss", first=2, tolerance=1e-9, in_dtype="float64")])
    for dtype in ("float32", "float64"):
        for name, second in (("unrolled", 2.0), ("close", 2.0 * (1 + 1e-12)), ("far", 2.1)):
            series = {"train": {"iteration": [1, 2, 3], "loss": [1.0, second, 5.0]}}
            store.cell("e", name, {"dtype": dtype}, series=series)
    frame, text = tables(store)
    frame = frame.set_index(["dtype", "implementation"])
    assert frame.loc["float32"][["agreement", "agreement_verdict"]].isna().all(axis=None)
    verdicts = frame.loc["float64"]["agreement_verdict"].to_dict()
    assert verdicts == {"unrolled": "reference", "close": "within", "far": "beyond"}
    assert frame.loc[("float64", "far"), "agreement"] == pytest.approx(0.05)
    assert "compared in float64 only" in text
    assert ["`close`", "1.0e-12 within"] in lines_of(text)


def test_seeds_are_averaged_but_the_worst_error_counts(store: Store) -> None:
    store.declare("e", columns={"error": "", "loss": "", "exact": ""}, shown=["error", "loss", "exact"])
    for seed in range(3):
        row = {"error": 10.0 ** (seed - 10), "loss": float(seed), "exact": True}
        store.cell("e", "i", {"seed": seed}, rows=[row])
    store.cell("e", "i", {"seed": 3}, status="diverged", reason="not finite at 7")
    _, text = tables(store)
    assert lines_of(text)[1] == [
        "`i`",
        "3",
        "1.0e-08",
        "1",
        "yes",
        "ok: 3 of 4 seeds ok; 1 × diverged: not finite at 7",
    ]


def test_several_environments_show_themselves(store: Store) -> None:
    store.declare("e", columns={"v": ""}, shown=["v"])
    store.cell("e", "i", rows=[{"v": 1.0}])
    other = store.environment(torch="1.13.1")
    store.cell("e", "i", rows=[{"v": 2.0}], environment=other, library="higher", library_version="0.2.1")
    _, text = tables(store)
    header, *rows = lines_of(text)
    assert header == ["implementation", "torch_version", "environment", "v"]
    assert {row[1] for row in rows} == {"2.9.0", "1.13.1"}
    assert "several environments" in text
    assert "torch 1.13.1, NumPy 2.4.6, higher 0.2.1, Test CPU (8 cores), Linux x86_64" in text


def test_what_stands_beneath_the_tables(store: Store) -> None:
    store.declare("e", columns={"v": "what v means"}, shown=["v"], question="Is it\nso?")
    file = store.cell("e", "i", rows=[{"v": np.pi}])
    file.with_name("bad.json").write_text("{")
    _, text = tables(store)
    assert text.startswith("# e\n\nIs it so?\n")
    digest = load(store.results, "e").cells[0].stream_digest
    assert f"cpu; float32; 1 thread; stream `{digest[:12]}`" in text
    assert "Python 3.11.9, torch 2.9.0" in text
    assert "bad.json: left out, not readable as JSON" in text
    assert "- `v`: what v means" in text.split("## Legend")[1]


def test_an_overview_sums_up_many_cases_in_natural_order(store: Store) -> None:
    store.declare("e", columns={"error": "", "size": ""}, shown=["error", "size"])
    for k in (1, 2, 5, 10):
        store.cell("e", "i", {"name": f"k{k}"}, rows=[{"error": k * 1e-16, "size": k}])
    store.cell("e", "j", {"name": "k1"}, status="wrong", reason="r", rows=[{"error": 0.5}])
    _, text = tables(store)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Overview", "k1", "k2", "k5", "k10", "Legend"]
    overview = lines_of(text.split("## k1")[0])
    assert overview[0] == ["implementation", "computes", "cases", "error, worst in float32", "size, range"]
    assert overview[1] == ["`i`", "maml", "4 ok", "1.0e-15", "1–10"]
    assert overview[2] == ["`j`", "maml", "1 wrong", "0.500", ""]


def test_like_stands_with_like_and_the_best_of_them_first(store: Store) -> None:
    store.declare("e", columns={"ms": ""}, shown=["ms"], best_first="ms")
    for name, computes, ms in (("c", "fomaml", 1.0), ("b", "maml", 3.0), ("a", "maml", 4.0), ("d", "reptile", 0.5)):
        store.cell("e", name, computes=computes, rows=[{"ms": ms}])
    store.cell("e", "e", status="wrong", reason="r", rows=[])
    _, text = tables(store)
    assert [line[0] for line in lines_of(text)[1:] if line[0].startswith("`")] == ["`b`", "`a`", "`c`", "`d`", "`e`"]
