"""`sparsedoctor-tui`: consultations in the terminal. Each subcommand is imported when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sparsedoctor.app.command_line import CommandParser, run_in_language
from sparsedoctor.app.options import add_model_options, add_version

DESCRIPTION = """\
A chat doctor that runs on this computer, offline. Rules that depend on no model look for
emergencies in your words first; then a language model answers, and you see which of its
experts your question reached. It is no doctor: in an emergency call your local emergency number."""

EXAMPLES = """\
examples:
  sparsedoctor-tui chat                              a consultation on the whole screen
  sparsedoctor-tui ask "How is asthma treated?"      one answer on standard output
  sparsedoctor-tui triage "my chest feels crushed"   the emergency rules alone, no model
  sparsedoctor-tui models                            the model files of this computer
  sparsedoctor-tui history encrypt                   a passphrase for your conversations

keys in the chat:
  Enter sends, Ctrl+J or Shift+Enter begins a new line, Esc stops an answer, F1 shows help,
  F2 shows or hides the experts, F3 asks about you, F4 lists the conversations, F5 makes a
  summary for a doctor, Ctrl+N begins anew, Ctrl+P lists all commands, Ctrl+Q leaves

exit codes: 0 done, 2 something to put right (one line says what), 130 interrupted
Model files and history lie in your own data folder; SPARSEDOCTOR_HOME moves them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    return run_in_language(lambda: int(options.run(options)), argv)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="sparsedoctor-tui",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_chat(commands)
    _add_ask(commands)
    _add_triage(commands)
    _add_models(commands)
    _add_history(commands)
    return parser


def _add_chat(commands: argparse._SubParsersAction[CommandParser]) -> None:
    chat = commands.add_parser(
        "chat",
        help="a consultation on the whole screen",
        description="A consultation on the whole screen. Without a model file the default model "
        "is assembled first (seconds).",
    )
    chat.add_argument(
        "--private", action="store_true", help="begin with a conversation that is not saved"
    )
    add_model_options(chat)
    chat.set_defaults(run=_chat)


def _add_ask(commands: argparse._SubParsersAction[CommandParser]) -> None:
    ask = commands.add_parser(
        "ask",
        help="one answer on standard output",
        description="Answers once. The answer goes to standard output as it is written; "
        "everything about it (emergency line, experts, seed) to standard error. An emergency or "
        "crisis found by the rules stands before the answer on standard output.",
    )
    ask.add_argument("question", help='your question, in quotes; "-" reads it from standard input')
    ask.add_argument(
        "--no-stream", action="store_true", help="print the whole answer at the end, once checked"
    )
    ask.add_argument("--quiet", action="store_true", help="nothing but the answer, no remarks")
    add_model_options(ask)
    ask.set_defaults(run=_ask)


def _add_triage(commands: argparse._SubParsersAction[CommandParser]) -> None:
    from sparsedoctor.app.consultation import triage_command

    triage = commands.add_parser(
        "triage",
        help="the emergency rules alone, without a model",
        description="Runs the emergency rules on a text and explains which fired and why. "
        "No model is needed.",
    )
    triage_command.add_arguments(triage)
    triage.set_defaults(run=triage_command.run)


def _add_models(commands: argparse._SubParsersAction[CommandParser]) -> None:
    models = commands.add_parser(
        "models",
        help="the model files of this computer",
        description="Lists the model files in the model folder, with what each says about itself.",
    )
    models.add_argument("--json", action="store_true", help="a JSON array, one object a file")
    models.set_defaults(run=_models)


def _add_history(commands: argparse._SubParsersAction[CommandParser]) -> None:
    history = commands.add_parser(
        "history",
        help="encrypt the saved conversations, or undo it",
        description="Encrypts the file of your conversations with a passphrase (SQLCipher), or "
        "undoes it. Asks in the terminal. Every other window must be closed. Whoever forgets the "
        "passphrase loses every conversation: nobody can restore them.",
    )
    actions = history.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, said in (
        ("encrypt", "encrypt the conversations with a passphrase"),
        ("decrypt", "make them readable without a passphrase again"),
        ("passphrase", "change the passphrase"),
    ):
        actions.add_parser(name, help=said, description=f"{said.capitalize()}.")
    history.set_defaults(run=_history)


def _chat(options: argparse.Namespace) -> int:
    from sparsedoctor.app.tui.chat import run

    return run(options)


def _ask(options: argparse.Namespace) -> int:
    from sparsedoctor.app.tui.ask import run

    return run(options)


def _history(options: argparse.Namespace) -> int:
    from sparsedoctor.app.tui import history_command

    actions = {
        "encrypt": history_command.encrypt,
        "decrypt": history_command.decrypt,
        "passphrase": history_command.change_passphrase,
    }
    actions[options.action]()
    return 0


def _models(options: argparse.Namespace) -> int:
    from sparsedoctor.app.tui.models import run

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
