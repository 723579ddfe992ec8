"""A folder that one program at a time writes into."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sparsedoctor.core.errors import SparseDoctorError

# How a file system says that it has no locks: one goes on without.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def in_use(folder: Path, by: str) -> Iterator[None]:
    """Hold `folder`, made if absent, so that no second process writes into it.

    `by` says what writes there ("training"). Raises SparseDoctorError while another process holds
    it. Ends with the process, however it ends.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise SparseDoctorError(
            f"{folder} is in use by another {by}; wait for it or stop it, or name another folder"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise SparseDoctorError(f"cannot write in {folder}: {error.strerror}") from error
    except NotImplementedError:
        pass
    try:
        yield
    finally:
        lock.release()
