"""The options that all interfaces share: which model, how it is loaded, how it answers."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from sparsedoctor.app.interface_language import AUTO, CHOICES
from sparsedoctor.core.arguments import number, whole
from sparsedoctor.core.engine.protocol import EngineSettings, Sampling
from sparsedoctor.core.models import DEFAULT

SERVER_KEY = "SPARSEDOCTOR_SERVER_KEY"  # as core/engine/server.py reads it


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """What answers (`--model`, `--server`), how it is loaded and how it answers."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f'"{DEFAULT}" (without this option too), a GGUF file, or the name of a file in the '
        "model folder (sparsedoctor-tui models lists them)",
    )
    server = parser.add_argument_group(
        "a model server instead of a file",
        "Every question, with the conversation before it and what you told about yourself, is "
        "sent to that server. Without --server the program connects to nobody.",
    )
    server.add_argument(
        "--server",
        metavar="URL",
        help="an OpenAI-compatible server (llama-server, vLLM, Ollama), such as "
        f"http://127.0.0.1:8080; its key, if it wants one, is read from {SERVER_KEY}",
    )
    server.add_argument(
        "--server-model",
        default="",
        metavar="NAME",
        help="one of the server's models (default: its first)",
    )
    answer = parser.add_argument_group("how it answers")
    defaults = Sampling()
    answer.add_argument(
        "--seed",
        type=whole(0, 2**32 - 1),
        metavar="N",
        help="makes the same question give the same answer; without it every answer has a fresh "
        "seed, which is shown with it",
    )
    answer.add_argument(
        "--temperature",
        type=number(0.0, 2.0),
        default=defaults.temperature,
        metavar="T",
        help="0 always takes the likeliest word (default %(default)s)",
    )
    answer.add_argument(
        "--max-tokens",
        type=whole(1, 32768),
        default=defaults.max_tokens,
        metavar="N",
        help="longest answer (default %(default)s)",
    )
    answer.add_argument(
        "--region",
        type=_region,
        metavar="CODE",
        help="two letters, such as GB or CN: whose emergency numbers are shown "
        "(default: the computer's locale)",
    )
    answer.add_argument(
        "--language",
        choices=CHOICES,
        default=AUTO,
        help="of labels, buttons and help; auto (the default) follows what you told about "
        "yourself, else the computer's locale; answers follow your words",
    )
    loading = parser.add_argument_group("how it is loaded")
    loading.add_argument(
        "--context", type=whole(256, 1 << 20), metavar="N", help="tokens it can hold in view"
    )
    loading.add_argument(
        "--threads",
        type=whole(1, 1024),
        metavar="N",
        help="processor threads (default: physical cores - 1)",
    )
    loading.add_argument(
        "--gpu-layers",
        type=whole(0, 10_000),
        default=0,
        metavar="N",
        help="layers computed on a GPU, if llama.cpp was built for one (default %(default)s)",
    )


def add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {version('sparsedoctor')}"
    )


def sampling_of(options: argparse.Namespace) -> Sampling:
    return Sampling(
        temperature=options.temperature, max_tokens=options.max_tokens, seed=options.seed
    )


def engine_settings_of(options: argparse.Namespace) -> EngineSettings:
    return EngineSettings(
        context=options.context, threads=options.threads, gpu_layers=options.gpu_layers
    )


def _region(text: str) -> str:
    # Imported here: the table behind it is read only when somebody names a region.
    from sparsedoctor.app.consultation.numbers import regions

    code = text.upper()
    if code not in regions():
        raise argparse.ArgumentTypeError(
            f"there are no numbers for {text}; known are {', '.join(regions())}"
        )
    return code
