"""`sparsedoctor-web`: the same consultation in a browser, on this computer only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sparsedoctor.app.command_line import CommandParser, run_in_language
from sparsedoctor.app.options import add_model_options, add_version

DESCRIPTION = """\
A chat doctor that runs on this computer, offline, shown in a browser. The page is served on
127.0.0.1 only: nobody else can open it, and nothing leaves this computer. It is no doctor: in an
emergency call your local emergency number."""

EXAMPLES = """\
examples:
  sparsedoctor-web                              opens the page in your browser
  sparsedoctor-web --port 8080 --no-browser     prints the address and stays; Ctrl-C ends it
  sparsedoctor-web --model doctor.gguf          with another model file
  sparsedoctor-web --language zh                labels in Chinese (auto: as your browser asks)

exit codes: 0 done, 2 something to put right (one line says what), 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(argv)
    return run_in_language(lambda: _serve(options), argv)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="sparsedoctor-web",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    parser.add_argument(
        "--port", type=_port, default=7860, metavar="N", help="on 127.0.0.1 (default %(default)s)"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, open no browser"
    )
    parser.add_argument(
        "--private", action="store_true", help="conversations begin private: nothing is saved"
    )
    add_model_options(parser)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port from 1 to 65535")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    from sparsedoctor.app.web.serve import serve

    return serve(options)


if __name__ == "__main__":
    sys.exit(main())
