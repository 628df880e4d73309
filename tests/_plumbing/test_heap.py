"""Freed memory is kept where glibc is there, and its absence is no error."""

import ctypes
import resource
import subprocess
import sys

import pytest

from erasable._plumbing import heap

FAULTS = """
import resource, sys, torch
from erasable._plumbing.heap import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    parts = [torch.ones(1 << 20) for _ in range(8)]  # 4 MiB each
    del parts
for _ in range(3):
    work()
before = pages()
for _ in range(20):
    work()
print(pages() - before)
"""


def has_glibc() -> bool:
    return hasattr(ctypes.CDLL(None), "gnu_get_libc_version") if sys.platform == "linux" else False


@pytest.mark.skipif(not has_glibc(), reason="needs glibc")
def test_a_block_that_is_freed_and_wanted_again_costs_no_pages():
    def faults(how: str) -> int:
        run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return int(run.stdout)

    pages = 20 * 8 * (4 << 20) // resource.getpagesize()
    assert faults("keep") < 0.05 * pages


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    heap.keep_freed_memory.cache_clear()
    assert heap.keep_freed_memory() is False
    heap.keep_freed_memory.cache_clear()
