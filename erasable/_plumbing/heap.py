"""Keep freed memory while training.

glibc hands large freed blocks back to the system at once. A training step that frees its activations gets them again a
moment later, page by page and zeroed, which costs up to as much time as the arithmetic (see `benchmarks/heap.py`).
"""

import ctypes
import functools

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # glibc's names for what is set, from malloc.h
LARGEST = 32 << 20  # bytes: blocks up to this size come from the heap, the most that glibc allows
KEPT = 1 << 30  # bytes of free heap above which the rest is given back


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB of memory that it freed; False, and nothing is changed, without glibc.

    Blocks above 32 MiB are still returned at once. It lasts for the life of the process: a second call does nothing.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return False
    return bool(set_option(MMAP_THRESHOLD, LARGEST) and set_option(TRIM_THRESHOLD, KEPT))
