"""Published files: folders, digests, archives."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from dpbench.data.published import PublishedFile, archive_member, data_folder, digest_of
from dpbench.errors import UserError

FILE = PublishedFile(
    paths=("a/x.txt.gz", "a/x.txt"),
    digest=f"md5:{hashlib.md5(b'hello').hexdigest()}",
    url="https://u",
)


def read(folder):
    return FILE.read(folder, dataset="demo", source="https://demo.org")


def test_the_folder_is_the_argument_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DPBENCH_DATA", "/from/variable")
    assert data_folder(tmp_path) == tmp_path
    assert data_folder() == Path("/from/variable")
    monkeypatch.delenv("DPBENCH_DATA")
    assert data_folder(None) == Path.home() / ".cache" / "dpbench" / "data"
    assert data_folder(Path("~/mine")) == Path.home() / "mine"


def test_without_a_home_folder_the_working_directory_is_taken(monkeypatch, no_home):
    monkeypatch.delenv("DPBENCH_DATA", raising=False)
    assert data_folder() == Path("dpbench-data")
    with pytest.raises(UserError, match=r"--data-dir: '~/mine' starts at a home folder"):
        data_folder(Path("~/mine"))
    monkeypatch.setenv("DPBENCH_DATA", "~/data")
    with pytest.raises(UserError, match=r"DPBENCH_DATA: '~/data' starts at a home folder"):
        data_folder()


def test_a_git_blob_digest_is_what_git_prints():
    # `printf 'hello\n' | git hash-object --stdin`
    assert digest_of(b"hello\n", "git-blob") == "git-blob:ce013625030ba8dba906f756967f9e9ca394464a"


def test_sha256_of_nothing():
    assert digest_of(b"", "sha256").startswith("sha256:e3b0c44298fc1c149afbf4c8996fb924")


@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz"])
def test_content_is_read_from_either_place_and_verified_uncompressed(tmp_path, name):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_bytes(gzip.compress(b"hello") if "gz" in name else b"hello")
    assert read(tmp_path) == b"hello"


def test_a_missing_file_names_file_folder_source_and_digest(tmp_path):
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    message = str(caught.value)
    for part in (
        "demo",
        "a/x.txt",
        str(tmp_path),
        FILE.digest,
        "https://demo.org",
        "download demo",
    ):
        assert part in message


def test_a_wrong_digest_names_file_expected_and_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_bytes(b"hullo")
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    for part in (str(tmp_path / "a" / "x.txt"), FILE.digest, hashlib.md5(b"hullo").hexdigest()):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"hello")[:-5], b""],
    ids=["text", "cut short", "empty"],  # compressed bytes carry a time stamp
)
def test_damaged_gzip_is_explained(tmp_path, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.txt\.gz"):
        read(tmp_path)


def tgz(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            if kind == tarfile.SYMTYPE:
                info.linkname, info.size = "/etc/passwd", 0
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_a_member_is_found_by_its_exact_name():
    archive = tgz(
        ("../wanted", b"no", tarfile.REGTYPE),
        ("/wanted", b"no", tarfile.REGTYPE),
        ("x/wanted", b"no", tarfile.REGTYPE),
        ("./wanted", b"yes", tarfile.REGTYPE),
    )
    with archive_member(archive, "wanted", where="demo") as stream:
        assert stream.read() == b"yes"


def test_traversing_names_and_links_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = tgz(("../wanted", b"evil", tarfile.REGTYPE), ("wanted", b"", tarfile.SYMTYPE))
    with (
        pytest.raises(UserError, match="no regular file 'wanted'"),
        archive_member(archive, "wanted", where="demo"),
    ):
        pass
    assert not list(tmp_path.parent.glob("wanted"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "archive",
    [b"", b"junk", tgz(("w", b"x" * 9999, tarfile.REGTYPE))[:60]],
    ids=["empty", "junk", "cut short"],
)
def test_damaged_archives_are_explained(archive):
    with (
        pytest.raises(UserError, match="demo: the archive cannot be read"),
        archive_member(archive, "w", where="demo") as stream,
    ):
        stream.read()
