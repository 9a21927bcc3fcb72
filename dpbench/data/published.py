"""Files as their publishers released them: where they may lie, and the digest that proves them."""

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from dpbench.errors import UserError
from dpbench.home import expanded, home


def data_folder(data_dir: Path | None = None) -> Path:
    """Returns the folder of downloaded sets.

    Args:
        data_dir: Taken if given; otherwise the environment variable `DPBENCH_DATA`, otherwise
            `~/.cache/dpbench/data`, or `dpbench-data` in the working directory where no home folder
            is known. The folder need not exist.

    Raises:
        UserError: The given folder starts at a home folder that is not known.
    """
    if data_dir:
        return expanded(data_dir, field="--data-dir")
    if named := os.environ.get("DPBENCH_DATA"):
        return expanded(named, field="DPBENCH_DATA")
    base = home()
    return base / ".cache" / "dpbench" / "data" if base else Path("dpbench-data")


def digest_of(content: bytes, algorithm: str) -> str:
    """Returns "algorithm:hex" for md5, sha256 or git-blob (the id git gives a file's content)."""
    if algorithm == "git-blob":
        framed = b"blob %d\0" % len(content) + content
        return f"{algorithm}:{hashlib.sha1(framed, usedforsecurity=False).hexdigest()}"
    return f"{algorithm}:{hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file of a data set.

    Attributes:
        paths: Places inside the data folder where it is looked for, in order; a download goes to
            the first. A path that ends in `.gz` is read uncompressed.
        digest: `md5:…`, `sha256:…` or `git-blob:…` of the content that is read.
        url: Where `dpbench download` gets it, or "" where something else does.
    """

    paths: tuple[str, ...]
    digest: str
    url: str = ""

    def locate(self, folder: Path) -> Path | None:
        """Returns the first place where the file exists."""
        return next((folder / path for path in self.paths if (folder / path).is_file()), None)

    def read(self, folder: Path, *, dataset: str, source: str) -> bytes:
        """Returns the verified content.

        Raises:
            UserError: The file is missing, unreadable, or not the published one.
        """
        path = self.locate(folder)
        if path is None:
            raise UserError(
                f"{dataset}: {self.paths[0]} is not in the data folder {folder}",
                allowed=f"{' or '.join(self.paths)}, with digest {self.digest}",
                next_step=f"`dpbench download {dataset}`, or get it from {source} and name its "
                "folder by --data-dir or DPBENCH_DATA",
            )
        content = _content(path)
        self.verify(content, where=f"{dataset}: {path}")
        return content

    def verify(self, content: bytes, *, where: str) -> None:
        """Raises UserError unless the content has the published digest."""
        found = digest_of(content, self.digest.partition(":")[0])
        if found != self.digest:
            raise UserError(
                f"{where}: digest {found} is not the published one",
                allowed=self.digest,
                next_step="delete the file and get it again: it is damaged or another version",
            )


def _content(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: cannot be read: {error}", next_step="delete the file and get it again"
        ) from None


@contextmanager
def archive_member(archive: bytes, name: str, *, where: str) -> Iterator[IO[bytes]]:
    """Opens one regular file of a .tgz by its exact name; nothing is ever extracted to disk.

    Raises:
        UserError: The archive is damaged or has no regular file of that name.
    """
    try:
        with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as tar:
            member = next((m for m in tar if m.name.removeprefix("./") == name), None)
            stream = tar.extractfile(member) if member is not None and member.isreg() else None
            if stream is None:
                raise UserError(f"{where}: no regular file '{name}' in the archive")
            yield stream
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{where}: the archive cannot be read: {error}") from None
