"""Compare the verdicts of a check with the committed ones; a difference in either direction counts.

`expected.csv` has a line per implementation, golden case and dtype: the verdict and, for a known limitation, where its
library discusses it. A result that is newly right is reported just as one that is newly wrong.
"""

import csv
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from analysis.store.cells import Cell
from analysis.store.load import read
from experiments.harness.records.files import write_whole

EXPERIMENT = "regress"
ACCEPT = "accept with --accept"


class Key(NamedTuple):
    """What a verdict is about: an implementation on a golden case in a dtype."""

    implementation: str
    case: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.implementation} on {self.case} in {self.dtype}"


class Verdict(NamedTuple):
    """A verdict and, for a known limitation, the pointer to where its library discusses it."""

    verdict: str
    pointer: str = ""

    def __str__(self) -> str:
        return f"{self.verdict} ({self.pointer})" if self.pointer else self.verdict


Verdicts = dict[Key, Verdict]


class Unusable(ValueError):
    """The table of expected verdicts is missing or damaged; the message is one line."""


def read_verdicts(results: Path, keys: Collection[Key], environment: str) -> tuple[Verdicts, dict[Key, str]]:
    """Return the verdicts stored for `keys` in one environment, and the reasons of those that are not right."""
    cells = [cell for cell in read(results, EXPERIMENT).cells if cell.environment == environment and _key(cell) in keys]
    verdicts = {_key(cell): Verdict(cell.verdict, _pointer(cell)) for cell in sorted(cells, key=lambda c: c.finished)}
    return verdicts, {_key(cell): cell.reason for cell in cells if not cell.ok}


def read_expected(file: Path) -> Verdicts:
    """Read the committed verdicts. Raises Unusable."""
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        return {Key(*(row[name] for name in Key._fields)): Verdict(row["verdict"], row["pointer"]) for row in rows}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read as a table of verdicts"
        raise Unusable(f"{file} {why}; --accept writes it") from None


def accept(file: Path, verdicts: Verdicts, others: Verdicts) -> None:
    """Write `verdicts` as the new expected ones, along with `others`, which the check did not cover."""
    lines = [(*Key._fields, *Verdict._fields), *sorted((*key, *value) for key, value in (others | verdicts).items())]
    write_whole(file, "".join(f"{','.join(map(_quoted, line))}\n" for line in lines).encode())


def differences(committed: Verdicts, verdicts: Verdicts, reasons: dict[Key, str]) -> Iterator[str]:
    """Yield a line for each verdict that differs from the committed one, is missing, or has none to compare with.

    An implementation that is new as a whole gets one line.
    """
    for key in sorted(committed.keys() | verdicts.keys()):
        if key not in verdicts:
            yield f"{key}: no verdict; expected {committed[key]}"
        elif key not in committed:
            if any(key.implementation == known.implementation for known in committed):
                yield f"{key}: {_explain(key, verdicts, reasons)}; nothing was expected of this case: {ACCEPT}"
        elif verdicts[key] != committed[key]:
            news = f": if that is no mistake, {ACCEPT}" if verdicts[key].verdict == "right" else ""
            yield f"{key}: {_explain(key, verdicts, reasons)}; expected {committed[key]}{news}"
    known = {key.implementation for key in committed}
    for name in sorted({key.implementation for key in verdicts} - known):
        counts = Counter(value.verdict for key, value in verdicts.items() if key.implementation == name)
        yield f"{name}: new, {count_in_words(counts)}; nothing was expected of it: {ACCEPT}"


def count_in_words(counts: Counter[str]) -> str:
    """Return counts as text, the most frequent first."""
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


def _explain(key: Key, verdicts: Verdicts, reasons: dict[Key, str]) -> str:
    return ": ".join(filter(None, [verdicts[key].verdict, reasons.get(key, "")]))


def _key(cell: Cell) -> Key:
    return Key(cell.implementation, cell.case.name, cell.case.dtype)


def _pointer(cell: Cell) -> str:
    """Return the pointer of a known limitation, with which its reason starts."""
    return cell.reason.partition(":")[0] if cell.status == "expected" else ""


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""')) if set(text) & set('",\n') else text
