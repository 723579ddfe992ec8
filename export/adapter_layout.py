"""The layout `adapter`: the checked adapter itself, to go on training or to share."""

from __future__ import annotations

import shutil
from pathlib import Path

from sparsedoctor.export.adapter import SETTINGS_FILE, weights_file
from sparsedoctor.export.base import open_base
from sparsedoctor.export.folder import replacing_folder
from sparsedoctor.export.mixture import ExportSettings, open_adapter


def export_adapter(settings: ExportSettings) -> Path:
    """Copy the adapter's three files once every tensor fits its base. Raises SparseDoctorError."""
    base = open_base(settings.base)
    try:
        open_adapter(settings.adapter, base, any_base=settings.any_base)
    finally:
        base.close()
    names = (SETTINGS_FILE, weights_file(settings.adapter).name, "adapter_config.json")
    files = [settings.adapter / name for name in names if (settings.adapter / name).is_file()]
    need = sum(file.stat().st_size for file in files)
    with replacing_folder(settings.output, force=settings.force, need=need) as part:
        for file in files:
            shutil.copyfile(file, part / file.name)
    return settings.output
