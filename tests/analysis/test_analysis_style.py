"""Looks are different, stable and readable."""

from analysis import style

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
