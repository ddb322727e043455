"""Keep freed memory in the process while training on a CPU.

glibc gives large blocks back to the kernel at once and takes them anew for the next tensor of the same
size; every step then pays page faults for all its activations, up to 45% of its time.
"""

from __future__ import annotations

import ctypes
import platform
import sys

# malloc.h: parameters of mallopt(3)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Tell glibc's malloc so; nothing happens with any other C library."""
    # elsewhere libc_ver opens python itself, which need not be readable: that of the Microsoft Store
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_TOP_PAD, 2**28)
