"""What `--implementations` lists is measured, and nothing else; what it cannot mean is one clear line."""

from pathlib import Path

import pytest

import baselines
from experiments.harness.refusals import BadRequest
from experiments.harness.selection import select, split
from tests.conftest import IMPLEMENTATIONS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with files of a user's."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "two words.py", "unrolled.py", "other/mine.py", "higher_untracked.py", "plain"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "folder.py").mkdir()
    return tmp_path


def test_exactly_what_is_listed_is_selected_in_its_order(folder: Path) -> None:
    selection = select(split("unrolled, other/mine.py,adjoint"))
    assert list(selection.files.items()) == [
        ("unrolled", baselines.find("unrolled")),
        ("mine", folder / "other" / "mine.py"),
        ("adjoint", baselines.find("adjoint")),
    ]
    assert selection.own == {"mine": folder / "other" / "mine.py"}


def test_all_are_the_built_in_ones_and_files_may_stand_beside_them(folder: Path) -> None:
    assert sorted(select(["all"]).files) == IMPLEMENTATIONS
    more = select(["all", Path("two words.py"), "mine.py", "adjoint"])
    assert set(more.files) == {*IMPLEMENTATIONS, "two words", "mine"} and set(more.own) == {"two words", "mine"}
    assert set(select(["all"], misuses=True).files) == {*IMPLEMENTATIONS, *baselines.misuses()}


def test_a_home_folder_is_found_where_no_shell_has_replaced_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "other"))
    assert select(split("unrolled,~/mine.py")).own == {"mine": folder / "other" / "mine.py"}


@pytest.mark.parametrize(
    ("text", "wrong", "allowed"),
    [
        ("", "--implementations lists nothing", "all, adjoint, "),
        (" , ", "--implementations lists nothing", "files whose names end in .py"),
        ("unroled", "unknown implementation 'unroled' (did you mean unrolled?)", "allowed are all, adjoint, "),
        ("mine", "unknown implementation 'mine' (did you mean mine.py?)", "files whose names end in .py"),
        ("other/plain", "unknown implementation 'other/plain'; allowed are", "files whose names end in .py"),
        ("higher-untracked", "unknown implementation 'higher-untracked'; allowed are all, adjoint", "higher"),
        ("absent.py", "--implementations absent.py: there is no such Python file", ""),
        ("folder.py", "--implementations folder.py: there is no such Python file", ""),
        ("adjoint,unrolled,adjoint", "--implementations: adjoint is listed twice", ""),
        ("mine.py,./mine.py", "--implementations mine.py: this file is listed twice", ""),
        ("mine.py,other/mine.py", "--implementations other/mine.py: ", "mine.py is named mine, too; rename one"),
        (
            "unrolled.py",
            "--implementations unrolled.py: a built-in implementation is named unrolled",
            "rename the file",
        ),
        ("higher_untracked.py", "a built-in implementation is named higher-untracked", "rename the file"),
        (".mine.py", "--implementations .mine.py: a name that begins with a dot", ""),
    ],
)
def test_what_it_cannot_mean_is_one_clear_line(folder: Path, text: str, wrong: str, allowed: str) -> None:
    with pytest.raises(BadRequest) as refused:
        select(split(text))
    assert wrong in str(refused.value) and allowed in str(refused.value)
    assert "\n" not in str(refused.value)
