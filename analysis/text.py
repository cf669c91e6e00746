"""Format numbers and names as text for people: significant digits, intervals, ratios and Markdown."""

import math
import re
import textwrap
from collections.abc import Container, Mapping
from typing import Any

from tabulate import tabulate

from analysis.statistics.stats import Interval

_SPECIAL = re.compile(r"[\\`*|\[\]~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")  # an underscore inside a name is harmless
_WIDTH = 120
_CODE, _KEPT = re.compile(r"`[^`\n]+`"), "\0"  # lines must not break at spaces in code style
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def escape(text: str) -> str:
    """Return `text` as one line that Markdown shows literally, inside tables too.

    >>> escape("no `x` | use <y>")
    'no \\\\`x\\\\` \\\\| use &lt;y&gt;'
    """
    return _SPECIAL.sub(lambda match: "\\" + match[0], " ".join(text.split())).translate(_ENTITIES)


def code(text: str) -> str:
    """Return a name in code style, or escaped if it holds characters that code style cannot show."""
    return escape(text) if set(text) & set("`|<>&\n") else f"`{text}`"


def natural(name: str) -> list[tuple[str, int]]:
    """Return a sort key that reads digits as numbers.

    >>> sorted(["k10", "k5"], key=natural)
    ['k5', 'k10']
    """
    return [(words, int(digits or 0)) for words, digits in re.findall(r"(\D+|^)(\d*)", name)]


def number(value: float, digits: int = 3) -> str:
    """Return `value` with some significant digits, in scientific notation if it is very small or very large.

    >>> [number(value) for value in (6.8449, 0.01234, 1234.5, 2.1e-16, 5.0, 0.0, 3.2e7)]
    ['6.84', '0.0123', '1234', '2.1e-16', '5', '0', '3.2e+07']
    """
    if not math.isfinite(value):
        return "" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return _fixed(value, _decimals(value, digits)) if _plain(value) else f"{value:.1e}"


def quote_names(table: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the table with the columns `implementation` and `computes` escaped, so that Markdown shows them literally.

    >>> quote_names({"implementation": ["a"], "computes": ["x|y"], "ms": ["1"]})
    {'implementation': ['`a`'], 'computes': ['x\\\\|y'], 'ms': ['1']}
    """
    quote = {"implementation": code, "computes": escape}
    return {name: [quote[name](cell) for cell in cells] if name in quote else cells for name, cells in table.items()}


def grid(table: Mapping[str, list[str]], left: Container[str]) -> str:
    """Return a Markdown table from columns by header, right-aligned except those in `left`; only headers are escaped.

    >>> print(grid({"name": ["`a`"], "ms": ["1.5"]}, left=["name"]))
    | name   |   ms |
    |:-------|-----:|
    | `a`    |  1.5 |
    """
    lines: str = tabulate(
        list(zip(*table.values(), strict=True)),
        headers=[escape(name) for name in table],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if name in left else "right" for name in table],
    )
    return lines


def wrap(markdown: str) -> str:
    """Break the prose of a page at 120 characters; tables, images, headings and code stay as they are.

    >>> print(wrap("A\\nB\\n\\n| a |\\n|---|\\n"))
    A B
    <BLANKLINE>
    | a |
    |---|
    <BLANKLINE>
    """
    blocks = [block for block in re.split(r"\n\s*\n", markdown.strip()) if block.strip()]
    return "\n\n".join(_wrap_block(block.strip("\n")) for block in blocks) + "\n"


def interval(x: Interval, sign: bool = False) -> str:
    """Return a value and its interval with equally many decimals, as many as the interval's width justifies.

    >>> interval(Interval(6.8449, 6.7012, 7.0011)), interval(Interval(6.8449, 6.8441, 6.8458))
    ('6.84 (6.70–7.00)', '6.8449 (6.8441–6.8458)')
    >>> interval(Interval(0.016, 0.016 - 1e-16, 0.016 + 1e-16))
    '0.0160 (0.0160–0.0160)'
    >>> interval(Interval(-0.01, -0.021, 0.001), sign=True)
    '-0.0100 (-0.0210 to +0.0010)'
    """
    if math.isnan(x.lo) or math.isnan(x.hi):
        text = number(x.value)
        return f"+{text}" if sign and x.value > 0 else text
    scale = max(abs(x.lo), abs(x.hi)) if sign else abs(x.value)
    if scale and _plain(scale):
        half = (x.hi - x.lo) / 2
        finer = (
            -math.floor(math.log10(half)) if half > 1e-9 * scale else 0
        )  # a narrower interval is only rounding error
        decimals = min(max(_decimals(scale, 3), finer), _decimals(scale, 5))
        value, lo, hi = (_fixed(end, decimals, sign) for end in x)
    else:
        value, lo, hi = (f"{end:{'+' if sign and end else ''}.1e}" if end else "0" for end in x)
    return f"{value} ({lo}{' to ' if sign else '–'}{hi})"


def ratio(x: Interval, verdict: str) -> str:
    """Return a speed-up with three significant digits, its interval with as many decimals, and the verdict.

    >>> ratio(Interval(1.2345, 1.2, 1.27), "faster"), ratio(Interval(1, 1, 1), "reference")
    ('1.23× (1.20–1.27) faster', 'reference')
    >>> ratio(Interval(10.16, 9.961, 10.36), "faster"), ratio(Interval(0.00977, 0.00927, 0.0103), "slower")
    ('10.2× (10.0–10.4) faster', '0.00977× (0.00927–0.01030) slower')
    """
    if verdict == "reference" or math.isnan(x.value):
        return verdict
    ends = "" if math.isnan(x.lo) else f" ({_format_like(x.lo, x.value)}–{_format_like(x.hi, x.value)})"
    return f"{times(x.value)}{ends} {verdict}"


def times(value: float) -> str:
    """Return a speed-up without its interval.

    >>> [times(value) for value in (1.0, 75.22, 103.4, 0.01334, 9.996)]
    ['1.00×', '75.2×', '103×', '0.0133×', '10.0×']
    """
    return f"{_format_like(value, value)}×"


def case_in_words(params: Mapping[str, Any]) -> str:
    """Return a description of a case from what it varies; empty if its parameters do not describe it fully.

    >>> case_in_words({"tasks": 10, "inner_steps": 1, "shots": 5, "model": {"hidden": 2, "width": 40}})
    '10 tasks, 1 inner step, 5 shots, width 40'
    >>> case_in_words({"tasks": 4, "inner_steps": 5, "shots": 5, "model": {"blocks": 3, "filters": 64}})
    '4 tasks, 5 inner steps, 5 shots, convolutional, 64 filters'
    """
    amounts = {"task": params.get("tasks"), "inner step": params.get("inner_steps"), "shot": params.get("shots")}
    network = _network(params.get("model"))
    if not network or not all(isinstance(amount, int) for amount in amounts.values()):
        return ""
    return ", ".join([f"{amount} {noun}{'s' * (amount != 1)}" for noun, amount in amounts.items()] + [network])


def _network(model: object) -> str:
    """Return a built-in network's size, or the file and factory of a network of the user's."""
    if not isinstance(model, dict):
        return ""
    if "filters" in model:
        return f"convolutional, {model['filters']} filters"
    if model.get("hidden") and "width" in model:
        return f"width {model['width']}"
    return f"{model['file']}:{model['factory']}" if {"file", "factory"} <= model.keys() else ""


def _format_like(value: float, scale: float) -> str:
    """Return `value` with as many decimals as three significant digits of `scale` have."""
    return _fixed(value, _decimals(scale, 3)) if _plain(scale) else number(value)


def _plain(value: float) -> bool:
    return 1e-3 <= abs(value) < 1e6


def _decimals(value: float, digits: int) -> int:
    """Return how many decimals show this many significant digits, also where rounding adds a digit: 9.996 is 10.0."""
    rounded = float(f"{abs(value):.{digits - 1}e}")
    return max(0, digits - 1 - math.floor(math.log10(rounded)))


def _fixed(value: float, decimals: int, sign: bool = False) -> str:
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        return text.lstrip("-")
    return f"+{text}" if sign and value > 0 else text


def _wrap_block(block: str) -> str:
    if block.startswith(("|", "<", "#", "```", "    ")):
        return block
    items = re.split(r"\n(?=- )", _CODE.sub(lambda span: span[0].replace(" ", _KEPT), block))
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()),
            _WIDTH,
            subsequent_indent="  " if item.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    ).replace(_KEPT, " ")
