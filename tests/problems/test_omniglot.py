"""Omniglot's archives: read, resumed and refused; with tiny ones in the official layout."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.problems.data import omniglot as data
from experiments.problems.tasks import omniglot, stream
from tests.conftest import Call

CHARACTERS = {"images_background": 7, "images_evaluation": 3}


def png(dark: int) -> bytes:
    """A 105×105 image with one pixel value in a corner's square, in the mode of the official ones."""
    image = Image.new("1", (105, 105), 1)
    image.paste(0, (0, 0, 20 + dark, 40))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def archive(file: Path, characters: int, drawers: int = 20, damaged: bool = False) -> data.Archive:
    """Write one, and say what it is."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{file.stem}/", "")
        archive.writestr(f"{file.stem}/../../escaped.png", png(0))  # not in the official layout, so never looked at
        for character in range(1, characters + 1):
            for drawer in range(1, drawers + 1):
                name = f"{file.stem}/Alphabet_(old)/character{character:02}/{character:04}_{drawer:02}.png"
                archive.writestr(name, b"no image" if damaged else png(3 * character + drawer))
    return data.Archive(file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())


@pytest.fixture
def archives(tmp_path: Path) -> dict[str, data.Archive]:
    """Both, in tmp_path/data."""
    folder = tmp_path / "data"
    folder.mkdir()
    return {f"{name}.zip": archive(folder / f"{name}.zip", n) for name, n in CHARACTERS.items()}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves tmp_path/served with ranges: its address, and the ranges that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = tmp_path / "served" / self.path.lstrip("/")
            if not file.exists():
                self.send_error(404)
                return
            asked.append(self.headers.get("Range", ""))
            start = int(asked[-1].removeprefix("bytes=").rstrip("-") or 0)
            self.send_response(206 if start else 200)
            self.end_headers()
            self.wfile.write(file.read_bytes()[start:])

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=partial(http.serve_forever, poll_interval=0.05))
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", asked
    http.shutdown()
    thread.join()
    http.server_close()


def quiet(what: str, done: int, total: int) -> None:
    assert what and 0 <= done <= total


def test_archives_become_images_and_images_episodes(
    tmp_path: Path, archives: dict[str, data.Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, characters = data.prepare(tmp_path / "data", quiet, archives, "unused:")
    assert characters == 10 and file.name == omniglot.FILE
    assert not list(tmp_path.rglob("escaped*")) and not list(tmp_path.rglob("*.part"))
    monkeypatch.setenv(omniglot.FOLDER, str(tmp_path / "data"))
    omniglot.images.cache_clear()
    images = omniglot.images()
    assert images.shape == (10, 20, 28 * 28)
    square = images[0, 0].reshape(28, 28)
    assert square[2, 2] == 255 and square[20, 20] == 0  # ink where it was dark
    monkeypatch.setattr(omniglot.Omniglot, "split", lambda self, name: np.arange(10))
    batch = stream({"family": "omniglot", "ways": 5, "shots": 1, "queries": 2}, 0, 40, "train").batch(0)
    corners = batch.support_x.reshape(-1, 28, 28)[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert set(map(tuple, corners.round().astype(int).tolist())) == {tuple(np.eye(4, dtype=int)[i]) for i in range(4)}
    omniglot.images.cache_clear()


def test_a_download_goes_on_where_it_stopped(
    tmp_path: Path, archives: dict[str, data.Archive], server: tuple[str, list[str]]
) -> None:
    address, asked = server
    (tmp_path / "data").rename(tmp_path / "served")
    folder = tmp_path / "again"
    folder.mkdir()
    whole = (tmp_path / "served" / "images_background.zip").read_bytes()
    (folder / "images_background.zip.part").write_bytes(whole[:1000])
    data.prepare(folder, quiet, archives, address)
    assert asked == ["bytes=1000-", ""]
    assert (folder / "images_background.zip").read_bytes() == whole
    data.prepare(folder, quiet, archives, address)
    assert len(asked) == 2  # everything is there
    (folder / "images_background.zip").unlink()
    (folder / "images_background.zip.part").write_bytes(b"other bytes")
    with pytest.raises(ValueError, match=r"images_background.zip.part: damaged, or not the official archive"):
        data.prepare(folder, quiet, archives, address)
    assert not list(folder.glob("*.part"))  # or every later try would fail, too
    with pytest.raises(OSError, match=r"absent.zip could not be fetched: .*404"):
        data.fetch(f"{address}/absent.zip", folder / "absent.zip", data.Archive(9, ""), quiet)


def test_wrong_archives_are_named(tmp_path: Path, archives: dict[str, data.Archive]) -> None:
    folder = tmp_path / "data"
    wrong = archives | {"images_background.zip": data.Archive(1, "0" * 64)}
    with pytest.raises(ValueError, match=r"images_background.zip: damaged, or not the official archive"):
        data.prepare(folder, quiet, wrong, "unused:")
    for changes, message in (
        ({"drawers": 19}, "Alphabet_.old./character01 has 19 images"),
        ({"damaged": True}, "is no PNG image"),
        ({"characters": 0}, "there is no images_…/ALPHABET"),
    ):
        file = folder / "images_background.zip"
        changed = archives | {file.name: archive(file, **({"characters": 2} | changes))}
        with pytest.raises(ValueError, match=message):
            data.prepare(folder, quiet, changed, "unused:")
    assert not (folder / omniglot.FILE).exists()


def test_the_command_refuses_in_one_line(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images_background.zip").write_bytes(b"PK, but no archive")
    for arguments, message in (
        ([], "images_background.zip: damaged, or not the official"),
        (["data/images_background.zip"], "folder"),
    ):
        code, out, err = call("fetch", *arguments)
        assert (code, err.count("\n")) == (2, 1) and message in err and "Traceback" not in out + err
    monkeypatch.setattr(data, "SOURCE", "http://127.0.0.1:9")
    (tmp_path / "data" / "images_background.zip").unlink()
    code, _, err = call("fetch")
    assert (code, err.count("\n")) == (2, 1)
    assert "images_background.zip could not be fetched" in err and "images_evaluation.zip" in err


def test_the_command_says_what_it_made(
    call: Call,
    tmp_path: Path,
    archives: dict[str, data.Archive],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data, "OFFICIAL", archives)
    code, out, _ = call("fetch")
    assert (code, out.strip()) == (0, f"data/{omniglot.FILE}: 10 characters")


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(omniglot.FOLDER, str(tmp_path))
    np.savez(tmp_path / omniglot.FILE, images=np.zeros((2, 3), np.uint8))
    omniglot.images.cache_clear()
    with pytest.raises(ValueError, match="is not what `maml-bench fetch` makes"):
        omniglot.images()
