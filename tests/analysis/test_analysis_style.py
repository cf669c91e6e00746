"""Looks are different, stable and readable."""

from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.plots import encode

NAMES = [(("maml", "fomaml", "")[number % 3], f"i{number:02}") for number in range(16)]


def test_sixteen_implementations_differ_without_and_with_colour() -> None:
    looks = style.assign(NAMES).values()
    assert len({(look.colour, look.dash) for look in looks}) == 16
    assert len({(look.colour, look.marker) for look in looks}) >= 12
    assert len({(look.marker, look.dash) for look in looks}) == 16


def test_looks_depend_on_the_set_of_implementations_only() -> None:
    looks = style.assign(NAMES)
    assert style.assign(reversed(NAMES)) == looks
    assert style.assign([*NAMES, *NAMES, ("", "i00")]) == looks


def test_those_that_share_a_panel_do_not_share_a_colour() -> None:
    looks = style.assign([("maml", name) for name in "abcd"] + [("fomaml", name) for name in "efg"])
    assert len({looks[name].colour for name in "abcd"}) == 4
    assert len({looks[name].dash for name in "abcd"}) == 4


def test_black_and_grey_are_reserved() -> None:
    assert all(len({colour[1:3], colour[3:5], colour[5:7]}) > 1 for colour in style.COLOURS)


FAMILIES = ["higher", "jax", "jax-scan", "learn2learn", "unrolled", "unrolled-compiled", "vmap", "vmap-compiled"]
FIRST_ORDER = ["fomaml", "fomaml-vmap", "higher-first-order", "jax-first-order", "learn2learn-first-order"]
MORE = [
    "by-hand",
    "checkpointed",
    "functional",
    "adjoint",
    "adjoint-compiled",
    "notebook",
    "torchopt",
    "torchopt-x",
]


def test_a_variant_has_the_colour_of_what_it_is_a_variant_of() -> None:
    looks = style.assign([("maml", name) for name in FAMILIES] + [("fomaml", name) for name in FIRST_ORDER])
    for family in ("higher", "jax", "learn2learn", "unrolled", "vmap", "fomaml"):
        colours = {look.colour for name, look in looks.items() if name == family or name.startswith(f"{family}-")}
        assert len(colours) == 1
    assert looks["unrolled"].colour != looks["vmap"].colour
    assert style.assign([("maml", "jax"), ("maml", "jaxopt")])["jax"].colour != style.COLOURS[1]


def test_twenty_looks_differ_with_and_without_colour() -> None:
    pairs = [("maml", name) for name in FAMILIES + MORE] + [("fomaml", name) for name in FIRST_ORDER]
    looks = style.assign(pairs).values()
    assert len(looks) == 21
    assert len({(look.colour, look.dash) for look in looks}) == 21
    assert len({(look.colour, look.marker) for look in looks}) == 21
    assert len({(look.marker, look.dash) for look in looks}) == 21


def test_more_implementations_than_looks_are_no_error() -> None:
    looks = style.assign([("maml", f"i{number:03}") for number in range(200)])
    assert len(looks) == 200


def test_a_figure_is_laid_out_once_for_all_formats() -> None:
    figure = Figure(layout="constrained")
    axis = figure.subplots()
    encode(figure, "png")
    laid_out = axis.get_position().bounds
    axis.set_ylabel("so long that a new layout\nwould have to\nmake room for it")
    encode(figure, "svg")
    assert axis.get_position().bounds == laid_out
