"""The one exception for what a person can cause, and how a command reports it."""

from __future__ import annotations

import sys
from collections.abc import Callable

# The optional packages, and which extra of ours brings each.
_EXTRA_OF = {
    "accelerate": "train",
    "gradio": "web",
    "matplotlib": "train",
    "peft": "train",
    "pyarrow": "train",
    "sqlcipher3": "encrypt",
    "torch": "train",
    "transformers": "train",
}


class SparseDoctorError(Exception):
    """Something a person can put right: a wrong file, flag or setting.

    The text is one line that says what was wrong and what to do. Commands print it
    and exit with `exit_code`; it never becomes a traceback.
    """

    exit_code = 2


def run_command(command: Callable[[], int], say: Callable[[str], str] = str) -> int:
    """Run `command`; turn a `SparseDoctorError` into one line on stderr and its exit code.

    `say` puts that line into the person's language.

    A missing optional package is such a line too: it names the extra that brings it. Ctrl-C ends
    with 130, a reader that closed the pipe with 141, both without a traceback.
    """
    try:
        return command()
    except SparseDoctorError as error:
        print(say(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        needed = f'pip install "sparsedoctor[{extra}]"'
        line = f"error: this needs {error.name}, which is not installed; run {needed}"
        print(say(line), file=sys.stderr)
        return SparseDoctorError.exit_code
    except KeyboardInterrupt:
        print(say("interrupted"), file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the interpreter would report the same pipe again at exit
        return 141
