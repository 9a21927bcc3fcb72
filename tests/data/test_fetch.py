"""Downloads, with the network replaced by a function."""

import io
import stat
import urllib.error

import pytest

from dpbench.component import REGISTRIES
from dpbench.data import Location, download, fetch, torchvision_sets
from dpbench.data.published import PublishedFile, digest_of
from dpbench.errors import UserError

CONTENT = b"the published bytes"


@pytest.fixture
def asked(monkeypatch):
    """Answers every request with CONTENT, and records what was asked for."""
    urls = []

    def opener(url, timeout):
        assert timeout > 0
        urls.append(url)
        return io.BytesIO(CONTENT)

    file = PublishedFile(
        paths=("location/l.tgz", "l.tgz"),
        digest=digest_of(CONTENT, "git-blob"),
        url="https://example.org/l.tgz",
    )
    monkeypatch.setattr(Location, "files", (file,))
    monkeypatch.setattr(fetch, "urlopen", opener)
    return urls


def test_a_file_is_fetched_verified_and_readable(tmp_path, asked):
    target = tmp_path / "new" / "location" / "l.tgz"
    assert download("location", tmp_path / "new") == [target]
    assert asked == ["https://example.org/l.tgz"]
    assert target.read_bytes() == CONTENT
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_is_there_is_not_fetched_again(tmp_path, asked):
    (tmp_path / "l.tgz").write_bytes(CONTENT)
    assert download("location", tmp_path) == [tmp_path / "l.tgz"]
    assert asked == []


def test_a_damaged_file_that_is_there_is_reported(tmp_path, asked):
    (tmp_path / "l.tgz").write_bytes(b"damaged")
    with pytest.raises(UserError, match="is not the published one"):
        download("location", tmp_path)


def test_what_has_the_wrong_digest_is_not_kept(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(fetch, "urlopen", lambda url, timeout: io.BytesIO(b"an error page"))
    with pytest.raises(UserError, match=r"https://example\.org/l\.tgz: digest .* is not the"):
        download("location", tmp_path)
    assert not any(tmp_path.rglob("*.*"))


def test_a_failing_network_is_explained(tmp_path, asked, monkeypatch):
    def opener(url, timeout):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(fetch, "urlopen", opener)
    with pytest.raises(UserError, match=r"no route to host(?s:.*)location/l\.tgz"):
        download("location", tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path, asked):
    (tmp_path / "location").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        download("location", tmp_path)


@pytest.mark.parametrize("name", ["fashion_mnist", "letter", "adult"])
def test_embedded_sets_need_no_download(tmp_path, asked, name):
    assert download(name, tmp_path) == []
    assert asked == []


@pytest.mark.parametrize("name", ["pima", "digits", "breast_cancer", "file"])
def test_sets_that_cannot_be_downloaded_say_where_they_are(tmp_path, name):
    with pytest.raises(UserError, match=rf"'{name}' cannot be downloaded(?s:.*)see "):
        download(name, tmp_path)


def test_an_unknown_set(tmp_path):
    with pytest.raises(
        UserError, match=r"unknown dataset 'locations'(?s:.*)did you mean 'location'"
    ):
        download("locations", tmp_path)


@pytest.mark.parametrize(
    ("name", "torchvision_class"),
    [
        ("mnist", "MNIST"),
        ("fashion_mnist_full", "FashionMNIST"),
        ("cifar10", "CIFAR10"),
        ("cifar100", "CIFAR100"),
    ],
)
def test_torchvision_downloads_its_own(tmp_path, monkeypatch, name, torchvision_class):
    from torchvision import datasets

    calls = []
    monkeypatch.setattr(
        datasets, torchvision_class, lambda root, train, download: calls.append((root, download))
    )
    assert download(name, tmp_path / "new") == [tmp_path / "new"]
    assert calls == [(tmp_path / "new", True)]


def test_a_failing_torchvision_download_is_explained(tmp_path, monkeypatch):
    from torchvision import datasets

    def fail(root, train, download):
        raise RuntimeError("Error downloading")

    monkeypatch.setattr(datasets, "MNIST", fail)
    with pytest.raises(UserError, match=r"torchvision\.datasets\.MNIST .*Error downloading"):
        torchvision_sets.fetch("MNIST", tmp_path)


def test_every_url_is_https_and_every_file_has_a_digest():
    for dataset in REGISTRIES["dataset"].values():
        for file in dataset.files:
            assert file.digest.partition(":")[0] in {"md5", "sha256", "git-blob"}
            assert file.url.startswith("https://") or dataset.embedded or dataset.torchvision_class
