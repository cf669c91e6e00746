"""Figures of studies: what is on them, read from the comments of the SVG, and from the figure itself."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.columns.frame import with_computed
from analysis.figures import scaling, style
from analysis.page import Scaling
from analysis.store.load import load
from tests.analysis.results_factory import Store

SPEC = Scaling(
    name="f",
    title="Time",
    value="step_ms",
    factors={"tasks": "tasks in the meta-batch", "inner_steps": "inner steps K"},
    lines={"arithmetic_ms": "arithmetic"},
    gradient="pretraining",
    computes=("maml",),
    ylabel="milliseconds",
)
BASE = {"tasks": 4, "inner_steps": 2}
CASES = [BASE, {"tasks": 1}, {"tasks": 64}, {"inner_steps": 0}, {"inner_steps": 8}]
IMPLEMENTATIONS = {"one": "maml", "two": "maml", "fomaml": "fomaml", "pretraining": "gradient"}


def fill(store: Store, devices: tuple[str, ...] = ("cpu",), **changes: Any) -> None:
    """A study whose times are 2, 3, 4 and 5 ms plus the value of the factor, with arithmetic of 1 ms."""
    store.declare("e", columns={"step_ms": ""}, figures=(replace(SPEC, **changes),))
    for device in devices:
        for factors in CASES:
            for number, (name, computes) in enumerate(IMPLEMENTATIONS.items()):
                step = 2.0 + number + next(iter(factors.values()))
                case = {"name": str(factors), "params": {"study": {"factors": factors}}, "device": device}
                samples = {"step_ms": [[step], [1.1 * step]], "arithmetic_ms": [[1.0]]}
                store.cell("e", name, case, computes=computes, samples=samples, round_group="g")


def drawn(store: Store) -> Figure:
    experiment = load(store.results, "e")
    (spec,) = experiment.page.figures
    looks = style.assign((cell.computes, cell.implementation) for cell in experiment.cells)
    figure = scaling.draw_scaling(spec, experiment, with_computed(experiment), looks)
    assert figure is not None
    return figure


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def caption(figure: Figure) -> str:
    return figure.legends[0].get_title().get_text()


def lines(axis: Axes, colour: str) -> list[tuple[list[float], list[float]]]:
    """x and y of every line of this colour that is not empty; those of the rest of the axis, then those at 0."""
    coloured = [line for line in axis.lines if line.get_color() == colour and len(np.asarray(line.get_xdata())) > 0]
    return [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in coloured]


def test_a_panel_per_factor_and_one_legend_in_stable_order(store: Store) -> None:
    fill(store)
    figure = drawn(store)
    assert [axis.get_xlabel() for axis in figure.axes] == ["tasks in the meta-batch", "inner steps K"]
    assert all((axis.get_xscale(), axis.get_yscale()) == ("log", "log") for axis in figure.axes)
    assert figure.axes[0].get_ylabel() == "milliseconds"
    assert legend(figure) == ["one", "two", "arithmetic", "one plain gradient (pretraining)"]
    assert "95 % interval" in caption(figure)
    assert "tasks 4, inner steps 2" in caption(figure)


def test_lines_have_the_measured_points_and_guides_are_medians(store: Store) -> None:
    fill(store)
    tasks = drawn(store).axes[0]
    look = style.assign([("maml", "one"), ("maml", "two"), ("fomaml", "fomaml"), ("gradient", "pretraining")])["one"]
    ((x, y),) = lines(tasks, look.colour)
    assert x == [1, 4, 64]
    assert y == pytest.approx([1.05 * 3, 1.05 * 6, 1.05 * 66])
    ((x, y),) = lines(tasks, style.GREY)
    assert (x, y) == ([1, 4, 64], [1, 1, 1])
    ((x, y),) = lines(tasks, style.INK)
    assert y == pytest.approx([1.05 * 6, 1.05 * 9, 1.05 * 69])


def test_zero_stands_apart_and_is_called_zero(store: Store) -> None:
    fill(store)
    steps = drawn(store).axes[1]
    ticks = dict(zip(steps.get_xticks(), [label.get_text() for label in steps.get_xticklabels()], strict=True))
    assert list(ticks.values()) == ["0", "2", "8"]
    zero = min(ticks)
    assert 0 < zero < 2
    look = style.assign([(computes, name) for name, computes in IMPLEMENTATIONS.items()])["one"]
    assert [x for x, _ in lines(steps, look.colour)] == [[2, 8], [zero]]  # not connected
    assert "//" in [text.get_text() for text in steps.texts]


def test_a_row_of_panels_per_device(store: Store) -> None:
    fill(store, devices=("cpu", "cuda"))
    figure = drawn(store)
    assert len(figure.axes) == 4
    assert [figure.axes[i].get_ylabel() for i in (0, 2)] == ["cpu\nmilliseconds", "cuda\nmilliseconds"]


def test_a_device_without_one_of_the_studies(store: Store) -> None:
    fill(store)
    case = {"name": "gpu", "params": {"study": {"factors": {"tasks": 1}}}, "device": "cuda"}
    store.cell("e", "one", case, samples={"step_ms": [[1.0]], "arithmetic_ms": [[0.5]]})
    figure = drawn(store)
    gpu, empty = figure.axes[2:]
    assert lines(gpu, style.GREY) == [([1.0], [0.5])]
    assert [text.get_text() for text in empty.texts] == ["no result"]


def test_without_computes_all_have_a_line(store: Store) -> None:
    fill(store, computes=[], lines={}, gradient="", factors={"tasks": "tasks", "width": "no case varies it"})
    figure = drawn(store)
    assert legend(figure) == ["one", "two", "fomaml", "pretraining"]
    assert len(figure.axes) == 1


def test_what_has_no_point_is_named_with_the_reason(store: Store) -> None:
    fill(store)
    case = {"name": "x", "params": {"study": {"factors": {"tasks": 9}}}}
    store.cell("e", "two", case, status="timeout", reason="r", rows=[])
    store.cell("e", "third", case, empty={"step_ms": "no clock"})
    store.cell("e", "elsewhere", case, computes="fomaml", status="oom", reason="r", rows=[])
    words = caption(drawn(store))
    assert "No line for third: no clock." in words
    assert "Not at every point: two (timeout)." in words
    assert "elsewhere" not in words


def test_lines_that_coincide_are_named(store: Store) -> None:
    store.declare("e", figures=(SPEC,))
    for tasks in (1, 2):
        case = {"name": str(tasks), "params": {"study": {"factors": {"tasks": tasks}}}}
        for name, factor in (("a", 1.0), ("b", 1.04), ("c", 1.06), ("d", 1.0)):
            if (name, tasks) != ("d", 2):
                store.cell("e", name, case, samples={"step_ms": [[factor * tasks]]}, round_group="g")
    assert "Within 5 % of each other wherever both are, one line on the other: a and b, b and c." in caption(
        drawn(store)
    )


def test_nothing_to_draw(store: Store) -> None:
    fill(store, value="peak_gpu_mib")
    experiment = load(store.results, "e")
    assert scaling.draw_scaling(experiment.page.figures[0], experiment, with_computed(experiment), {}) is None


def test_labels_keep_their_distance(store: Store) -> None:
    store.declare("e", figures=(replace(SPEC, factors={"width": "width"}),))
    for width in (1, 2, 4, 1000, 1001, 99999, 100000):
        case = {"name": str(width), "params": {"study": {"factors": {"width": width}}}}
        store.cell("e", "one", case, samples={"step_ms": [[1.0]]})
    (axis,) = drawn(store).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2", "4", "1000", "100000"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\\b"])
def test_what_cannot_name_a_file_names_no_figure(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name the file of a figure"):
        replace(SPEC, name=name)
