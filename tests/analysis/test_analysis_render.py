"""From cells to files: figures of every kind, stale ones, what is refused, and the terminal summary."""

import ast
import io
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from analysis.columns.frame import with_computed
from analysis.figures.plots import draw
from analysis.figures.style import assign
from analysis.page import Curves, Drift, Intervals, Plot, Points, Sheet, Sketch
from analysis.render import NothingToRender, render
from analysis.store.load import MixedDigests, load
from analysis.tables.summary import print_summary
from tests.analysis.results_factory import Store, digest

CURVE = {"series": "train", "x": "iteration", "y": "loss"}
POINTS = Points(name="f_points", title="Errors", values=("error",))
LOSS = Curves(name="f_curves", title="Loss", ylabel="MSE", **CURVE)
SKETCH = Sketch(name="f_sketch", title="Tasks", series="s", x="x", y="y", values=("after_0",))
FIGURES = (
    LOSS,
    Drift(name="f_drift", title="Drift", **CURVE),
    Intervals(name="f_intervals", title="Time", values=("step_ms", "peak_gpu_mib")),
    POINTS,
    Curves(name="f_together", title="Loss of all", together=True, **CURVE),
    SKETCH,
    Sheet(name="f_sheet", title="Episodes", series="episode"),
)
IMPLEMENTATIONS = {"unrolled": "maml", "higher": "maml", "fomaml": "fomaml", "reptile": "reptile"}


def fill(store: Store, figures: tuple[Plot, ...]) -> None:
    """One experiment with everything that figures show."""
    rng = np.random.default_rng(0)
    store.declare("e", columns={"step_ms": "", "peak_gpu_mib": "", "error": ""}, shown=["step_ms"], figures=figures)
    for number, (name, computes) in enumerate(IMPLEMENTATIONS.items()):
        for seed in (0, 1):
            loss = (np.linspace(4, 1, 20) + seed) * (1 + number * 1e-7)
            task = {"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 2.0]}
            sketches = {f"s_{i}": task | {"after_0": [2.0, 2.0, 9.0]} for i in range(2)}
            sketches |= {f"s_{i}_support": task for i in range(2)}
            images = {f"{role}_{way}": [0.0, 0.5, way, 1.0] for role in ("support", "query") for way in (0, 1)}
            episodes = {"episode_0": images, "episode_0_taken": {"for": [0.0, 0.0]}}
            store.cell(
                "e",
                name,
                {"seed": seed},
                computes=computes,
                round_group=f"g{seed}",
                rows=[{"error": number * 1e-16}],
                empty={"peak_gpu_mib": "no CUDA device in this run"},
                samples={"step_ms": rng.uniform(1 + number, 2 + number, (3, 4)).tolist()},
                series={"train": {"iteration": list(range(20)), "loss": loss.tolist()}, **sketches, **episodes},
            )


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one figure of every kind, drawn once for all tests that look at it."""
    store = Store(tmp_path_factory.mktemp("rendered"))
    fill(store, FIGURES)
    files = render(store.results).files
    assert [file.relative_to(store.results).as_posix() for file in files] == [
        "tables/e.csv",
        "tables/e.md",
        *(f"plots/{figure.name}.{ending}" for figure in FIGURES for ending in ("png", "svg")),
    ]
    return store.results


@pytest.mark.parametrize("name", [figure.name for figure in FIGURES])
def test_every_kind_is_drawn_as_png_and_svg(rendered: Path, name: str) -> None:
    png = (rendered / "plots" / f"{name}.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert width == 1200  # 8 inches at 150 dots per inch
    assert height > 300
    assert len(png) > 10_000
    svg = (rendered / "plots" / f"{name}.svg").read_text()
    assert svg.count("<use ") > 20
    assert "<dc:date>" not in svg
    assert not list((rendered / "plots").glob(".*"))


def labels_in(store: Store) -> str:
    """All text of the figures of the experiment e, read from the SVG's comments."""
    experiment = load(store.results, "e")
    looks = assign((cell.computes, cell.implementation) for cell in experiment.cells)
    drawn = list(draw(experiment, with_computed(experiment), looks))
    return "\n".join(line for d in drawn for line in d.files["svg"].decode().splitlines() if "<!--" in line)


def test_a_figure_says_what_is_missing_and_names_its_axes(store: Store) -> None:
    fill(store, FIGURES[2:3])
    text = labels_in(store)
    assert "step (ms)" in text
    assert "No panel for peak GPU (MiB): no CUDA device in this run." in text


def test_curves_of_all_share_a_panel_and_sketches_have_one_each(store: Store) -> None:
    fill(store, FIGURES[4:5])
    text = labels_in(store)
    assert "second order" not in text  # the title of a panel of its own
    assert all(name in text for name in IMPLEMENTATIONS)
    store.declare("e", figures=(SKETCH,))
    text = labels_in(store)
    assert all(text.count(f"<!-- {name} -->") == 1 for name in IMPLEMENTATIONS)
    assert "truth" in text and "support points" in text and "before" in text


def test_episodes_say_what_each_query_image_was_taken_for(store: Store) -> None:
    fill(store, FIGURES[6:])
    text = labels_in(store)
    assert text.count("<!-- A -->") == 2 and text.count("<!-- B -->") == 1  # learned from A and B, and A told right
    assert text.count("<!-- A, is B -->") == 1


def test_points_at_zero_are_drawn_at_the_floor_and_wrong_ones_hollow(store: Store) -> None:
    store.declare("e", figures=(POINTS,))
    store.cell("e", "exact", rows=[{"error": 0.0}])
    store.cell("e", "bad", status="wrong", reason="r", rows=[{"error": 0.1}])
    text = labels_in(store)
    assert "0: zero, or below 1e-17." in text
    assert "Hollow" in text


def test_long_curves_are_thinned(store: Store) -> None:
    store.declare("e", figures=(LOSS,))
    long = {"train": {"iteration": list(range(5000)), "loss": np.sin(np.arange(5000)).tolist()}}
    store.cell("e", "i", series=long)
    assert "mean of up to 13 successive ones" in labels_in(store)
    experiment = load(store.results, "e")
    (drawn,) = draw(experiment, with_computed(experiment), assign([("maml", "i")]))
    assert len(drawn.files["svg"]) < 100_000


def test_the_same_results_give_the_same_svg(store: Store) -> None:
    fill(store, FIGURES[2:3])
    contents = []
    for _ in range(2):
        render(store.results)
        contents.append((store.results / "plots" / "f_intervals.svg").read_bytes())
    assert contents[0] == contents[1]


def test_a_figure_without_data_is_not_drawn_and_its_old_file_goes(store: Store) -> None:
    plots = store.results / "plots"
    plots.mkdir(parents=True)
    for figure in FIGURES:
        (plots / f"{figure.name}.png").write_text("old")
    (plots / "other.png").write_text("not ours")
    store.declare("e", figures=FIGURES)
    store.cell("e", "unrolled", status="unavailable", reason="r", rows=[])
    files = render(store.results).files
    assert [file.suffix for file in files] == [".csv", ".md"]
    assert [file.name for file in plots.iterdir()] == ["other.png"]


def test_without_plots_only_tables_are_written(store: Store) -> None:
    fill(store, FIGURES)
    assert {file.parent.name for file in render(store.results, plots=False).files} == {"tables"}


def test_nothing_to_render_is_one_clear_line(store: Store) -> None:
    for ask in (lambda: render(store.results), lambda: render(store.results, ["e"])):
        with pytest.raises(NothingToRender) as refusal:
            ask()
        assert "run `maml-bench run` first" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    store.declare("e")
    with pytest.raises(NothingToRender, match="nothing to render in"):
        render(store.results)


def test_only_what_is_asked_for_is_rendered(store: Store) -> None:
    for name in ("a", "b"):
        store.declare(name)
        store.cell(name, "i")
    assert [file.name for file in render(store.results, ["b"]).files] == ["b.csv", "b.md"]
    with pytest.raises(NothingToRender, match="nothing to render of c in"):
        render(store.results, ["b", "c"])


def test_mixed_digests_stop_before_anything_is_written(store: Store) -> None:
    store.declare("e")
    store.cell("e", "a")
    store.cell("e", "b", init_digest=digest("other"))
    with pytest.raises(MixedDigests):
        render(store.results)
    assert not (store.results / "tables").exists()


def test_warnings_name_the_experiment_and_the_file(store: Store) -> None:
    store.declare("e")
    store.cell("e", "i").with_name("bad.json").write_text("{")
    (warning,) = render(store.results).warnings
    assert warning.startswith("e: cells/e/")


def summary(results: Path) -> str:
    """The terminal summary as plain text."""
    console = Console(file=io.StringIO(), width=160)
    print_summary(results, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_summary_counts_explains_and_ranks(store: Store) -> None:
    store.declare("cost", columns={"step_ms": ""}, references=["slow"], ratio_of="step_ms", best_first="step_ms")
    store.cell("cost", "slow", round_group="g", samples={"step_ms": [[4.0], [4.0]]})
    store.cell("cost", "fast", round_group="g", samples={"step_ms": [[2.0], [2.0]]})
    store.cell("cost", "none", status="unavailable", reason="needs [cuda]", rows=[])
    text = summary(store.results)
    assert "cost: 3 cells: 2 ok, 1 unavailable" in text
    assert "unavailable: none: needs [cuda]" in text
    table = text[text.index("implementation") :]
    assert table.index("\nfast ") < table.index("\nslow ")
    assert "second order:" in table and re.search(r"\nfast +2 +2\.00×\s*\nslow +4 +reference", table)
    assert "tables:" not in text
    render(store.results, plots=False)
    assert "tables:" in summary(store.results)


def test_summary_of_many_cases_has_ranges(store: Store) -> None:
    store.declare("cost", columns={"step_ms": ""}, references=["slow"], ratio_of="step_ms", best_first="step_ms")
    for case in range(4):
        for name, ms in (("slow", 8.0), ("fast", 1.25 * 2**case)):
            samples = {"step_ms": [[ms], [ms]]}
            store.cell("cost", name, {"name": f"k{case}"}, round_group=f"g{case}", samples=samples)
    text = summary(store.results)
    assert "cost: ranges over 4 tables" in text
    (line,) = [line.split() for line in text.splitlines() if line.startswith("fast ")]
    assert line == ["fast", "4", "ok", "1.25–10", "0.800–6.40"]


def test_summary_of_mixed_or_missing_results_is_no_traceback(store: Store) -> None:
    assert "no results in" in summary(store.results)
    store.declare("e")
    store.cell("e", "a")
    store.cell("e", "b", init_digest=digest("other"))
    assert "--fresh" in summary(store.results)


def test_analysis_imports_neither_torch_nor_what_measures_but_for_the_records_of_both() -> None:
    code = (
        "import sys, analysis.render, analysis.tables.summary\n"
        "print([m for m in sys.modules if m.split('.')[0] in sys.argv])"
    )
    ran = [sys.executable, "-c", code, "torch", "baselines", "experiments"]
    imported = ast.literal_eval(subprocess.run(ran, capture_output=True, text=True, check=True).stdout)
    package = "experiments.harness.records"
    shared = {package, *(f"{package}.{name}" for name in ("cells", "fields", "files"))}
    assert {*imported} == shared | {"experiments", "experiments.harness"}
