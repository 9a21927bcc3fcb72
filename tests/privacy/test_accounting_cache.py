import json
import math

import pytest

from dpbench.privacy.accounting import cache


class Costly:
    """Counts how often the answer had to be computed."""

    def __init__(self, answer):
        self.answer, self.calls = answer, 0

    def __call__(self):
        self.calls += 1
        return self.answer


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DPBENCH_CACHE", str(tmp_path / "deep" / "cache"))
    cache.forget()
    return tmp_path / "deep" / "cache"


def test_an_answer_is_computed_once_and_survives_the_process(folder):
    costly = Costly([1.5, math.inf])
    assert cache.recall({"q": 0.1}, costly) == [1.5, math.inf]
    assert cache.recall({"q": 0.1}, costly) == [1.5, math.inf]
    cache.forget()
    assert cache.recall({"q": 0.1}, costly) == [1.5, math.inf]
    assert costly.calls == 1
    assert [file.suffix for file in folder.iterdir()] == [".json"]


def test_another_query_has_another_answer(folder):
    assert cache.recall({"q": 0.1}, Costly(1.0)) == 1
    assert cache.recall({"q": 0.1 + 1e-18}, Costly(2.0)) == 1
    assert cache.recall({"q": 0.1 + 1e-16}, Costly(3.0)) == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"3", b'{"answer": 7}', b'{"query": "other", "answer": 7}'],
)
def test_a_corrupt_file_is_ignored_and_replaced(folder, content):
    cache.recall({"q": 1}, Costly(1.0))
    (file,) = folder.iterdir()
    file.write_bytes(content)
    cache.forget()
    assert cache.recall({"q": 1}, Costly(2.0)) == 2
    assert json.loads(file.read_text())["answer"] == 2


def test_an_unusable_folder_costs_time_only(monkeypatch, tmp_path):
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    monkeypatch.setenv("DPBENCH_CACHE", str(occupied / "below"))
    cache.forget()
    assert cache.recall({"q": 1}, Costly(4.0)) == 4
    assert occupied.read_text() == "not a folder"


def test_a_failed_write_leaves_nothing(folder, monkeypatch):
    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("dpbench.privacy.accounting.cache.os.replace", refuse)
    assert cache.recall({"q": 1}, Costly(4.0)) == 4
    assert list(folder.iterdir()) == []


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("DPBENCH_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "dpbench" / "accounting"


def test_without_a_home_folder_answers_are_kept_in_memory(monkeypatch, no_home):
    monkeypatch.delenv("DPBENCH_CACHE")
    assert cache.folder() is None
    cache.forget()
    costly = Costly(4.0)
    assert [cache.recall({"q": 1}, costly) for _ in range(2)] == [4, 4]
    assert costly.calls == 1
