"""Change one text of a GGUF file's metadata; the weights stay as they are."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export.gguf_file import replacing

_STRING = 8


def set_text(path: Path, key: str, text: str) -> None:
    """Give the text `key`, which must be there, a new value. The file is written anew and then
    put in the old one's place. Raises SparseDoctorError."""
    header = read_header(path)
    if not isinstance(header.metadata.get(key), str):
        raise SparseDoctorError(f"{path} has no text {key}; export it again")
    with path.open("rb") as source:
        head = source.read(header.end)
        mark = struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", _STRING)
        at = head.index(mark) + len(mark)
        (length,) = struct.unpack_from("<Q", head, at)
        value = text.encode()
        new = head[:at] + struct.pack("<Q", len(value)) + value + head[at + 8 + length :]
        alignment = int(header.metadata.get("general.alignment", 32))
        with replacing(path, force=True, need=header.file_size + len(value)) as part:
            with part.open("wb") as file:
                file.write(new + bytes(-len(new) % alignment))
                source.seek(header.data_offset)
                shutil.copyfileobj(source, file, 1 << 22)
            os.chmod(part, path.stat().st_mode & 0o777)
