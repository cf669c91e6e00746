"""Prepare Omniglot (Lake et al. 2015): turn its two official archives into one array of 28×28 images.

Every image is resized with Pillow's Lanczos filter, as in the code released with Finn et al. 2017. Archives are checked
by their SHA-256 before anything in them is read, and read in place: no member is ever written to disk.
"""

import hashlib
import io
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.harness.records.files import write_whole
from experiments.problems.tasks.omniglot import DRAWERS, FILE, SIDE

SOURCE = "https://github.com/brendenlake/omniglot/raw/master/python"
LARGEST = 1 << 16  # bytes of an image; the official ones have some 300
CHUNK = 1 << 16
MEMBER = re.compile(r"images_(?:background|evaluation)/([^/]+/character\d+)/\d+_(\d+)\.png")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


class Archive(NamedTuple):
    """The size in bytes and the SHA-256 of an official archive."""

    size: int
    sha256: str


# as TensorFlow Datasets lists them (url_checksums/omniglot.txt)
OFFICIAL = {
    "images_background.zip": Archive(9464212, "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"),
    "images_evaluation.zip": Archive(6462886, "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"),
}


def prepare(
    folder: Path, progress: Progress, archives: Mapping[str, Archive] = OFFICIAL, source: str = SOURCE
) -> tuple[Path, int]:
    """Write the array of images to a file in `folder`; return its path and the number of characters.

    Archives that are not in `folder` are downloaded. Raises ValueError for one that is not the official one, OSError
    where downloading fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, archive in archives.items():
        if not (folder / name).exists():
            fetch(f"{source}/{name}", folder / name, archive, progress)
        check(folder / name, archive)
    images = np.concatenate([read(folder / name, progress) for name in archives])
    content = io.BytesIO()
    np.savez_compressed(content, images=images)
    write_whole(folder / FILE, content.getvalue())
    return folder / FILE, len(images)


def fetch(url: str, to: Path, archive: Archive, progress: Progress) -> None:
    """Download an archive, or the rest of one; until it is complete, its bytes are in `<name>.part`.

    Raises OSError where that fails, ValueError where the archive is not the official one.
    """
    part = to.with_name(f"{to.name}.part")
    done = part.stat().st_size if part.exists() else 0
    if done > archive.size:
        part.unlink()
        done = 0
    if done < archive.size:
        request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                resumed = answer.status == 206
                done = done if resumed else 0
                with part.open("ab" if resumed else "wb") as file:
                    while chunk := answer.read(CHUNK):
                        file.write(chunk)
                        done += len(chunk)
                        progress(f"fetching {to.name}", done, archive.size)
        except urllib.error.URLError as error:
            reason = error if isinstance(error, urllib.error.HTTPError) else error.reason
            raise OSError(f"{to.name} could not be fetched: {reason}") from error
    if done < archive.size:
        raise OSError(f"{to.name}: only {done} of {archive.size} bytes came; the same command goes on from there")
    try:
        check(part, archive)
    except ValueError:
        part.unlink()
        raise
    part.rename(to)


def check(file: Path, archive: Archive) -> None:
    """Raise ValueError unless a file's SHA-256 is that of the official archive."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != archive.sha256:
        raise ValueError(
            f"{file.name}: damaged, or not the official archive (SHA-256 {digest.hexdigest()[:12]}…, "
            f"not {archive.sha256[:12]}…)"
        )


def read(file: Path, progress: Progress) -> NDArray[np.uint8]:
    """Read all images of an archive, (characters, drawers, side·side), 255 for ink; sorted by alphabet and character.

    Raises ValueError where a character does not have one image of each drawer.
    """
    images: dict[str, dict[int, NDArray[np.uint8]]] = {}
    with zipfile.ZipFile(file) as archive:
        members = [(m, matched) for m in archive.infolist() if (matched := MEMBER.fullmatch(m.filename))]
        for done, (member, matched) in enumerate(members, start=1):
            if member.file_size > LARGEST:
                raise ValueError(f"{file.name}: {member.filename} has {member.file_size} bytes, {LARGEST} are allowed")
            try:
                images.setdefault(matched[1], {})[int(matched[2])] = _resized(archive.read(member))
            except OSError as error:
                raise ValueError(f"{file.name}: {member.filename} is no PNG image") from error
            if done % 500 == 0 or done == len(members):
                progress(f"reading {file.name}", done, len(members))
    if not images:
        raise ValueError(f"{file.name}: there is no images_…/ALPHABET/characterNN/NNNN_NN.png in it")
    for character, drawn in images.items():
        if sorted(drawn) != list(range(1, DRAWERS + 1)):
            raise ValueError(f"{file.name}: {character} has {len(drawn)} images, not one of each of {DRAWERS} drawers")
    return np.stack([np.stack([drawn[i] for i in sorted(drawn)]) for _, drawn in sorted(images.items())])


def _resized(png: bytes) -> NDArray[np.uint8]:
    from PIL import Image  # for preparing only

    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        grey = image.convert("L").resize((SIDE, SIDE), resample=Image.Resampling.LANCZOS)
    return 255 - np.asarray(grey, dtype=np.uint8).reshape(-1)
