"""From the options to what answers: a model file of this computer, or a server.

    options ─▶ choose_model ─▶ ModelFile ─────▶ engine_for ─▶ llama.cpp in a child process
                         └───▶ ModelServer ─▶            └──▶ HTTP, only with --server

Both interfaces use these two functions and nothing else.
"""

from __future__ import annotations

import argparse

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.interface_language import interface_language
from sparsedoctor.app.model_files import ModelFile, needs_assembly, open_model
from sparsedoctor.app.model_server import ModelServer
from sparsedoctor.app.options import engine_settings_of
from sparsedoctor.core.engine.server_address import ServerAddress
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.models import DEFAULT

Model = ModelFile | ModelServer

# What a server decides for itself; asking for it here would be passed over in silence.
_OF_FILES = {"model": "--model", "context": "--context", "threads": "--threads",
             "gpu_layers": "--gpu-layers"}  # fmt: skip


def choose_model(options: argparse.Namespace) -> Model:
    """What `--model` or `--server` names, checked; no connection is made yet.

    Assembles the default model when it is asked for and not there yet. Raises SparseDoctorError
    for options that do not go together, an address that is none, and as `open_model` does.
    """
    if options.server is None:
        if options.server_model:
            raise SparseDoctorError("--server-model names a model of a server; add --server URL")
        return open_model(options.model or DEFAULT, interface_language(options.language, Intake()))
    for name, option in _OF_FILES.items():
        if getattr(options, name) not in (None, 0):
            raise SparseDoctorError(
                f"--server and {option} do not go together: the server has its own model and "
                "settings; leave one of them out"
            )
    return ModelServer(ServerAddress.of(options.server), options.server_model)


def assembles_first(options: argparse.Namespace) -> bool:
    """Whether `choose_model` would assemble the default model first."""
    return options.server is None and needs_assembly(options.model or DEFAULT)


def engine_for(model: Model, options: argparse.Namespace) -> EngineOnDemand:
    """The engine on `model`; nothing is loaded and nobody connected to before it is asked."""
    if isinstance(model, ModelServer):
        return EngineOnDemand.on_server(model.address.url, model.model)
    return EngineOnDemand.on(model.path, engine_settings_of(options))
