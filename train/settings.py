"""Everything that can be chosen about a training run, as frozen dataclasses.

A settings file (TOML or YAML) has one table per section, with the names used here; a flag of
the same name (`--learning-rate`) wins over the file. Unknown names are refused.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.settings import ExpertSettings, SupervisionSettings

Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["cosine", "linear", "constant_with_warmup"]


@dataclass(frozen=True, slots=True)
class DataSettings:
    """What is learned from."""

    data: tuple[str, ...] = ()
    """Files or folders of training data."""
    format: str | None = None
    """Format of all of them; recognised by itself when left out."""
    held_out: tuple[str, ...] = ()
    """Files for the held-out loss; without one, topics are held out of the training data."""
    held_out_fraction: float = 0.02
    """Part of the examples held out, whole topics at a time, when no held_out file is given."""
    held_out_limit: int = 64
    """Held-out examples used for one measurement; 0 for all."""
    exclude: tuple[str, ...] = ()
    """Evaluation files: examples that ask the same are left out of training."""
    limit: int = 0
    """Examples used, drawn at random; 0 for all."""
    max_tokens: int = 512
    """Longest example in tokens; an answer loses its end, a longer question is left out."""
    pack: bool = False
    """Put several examples into one row, each seeing only itself."""
    licences: tuple[str, ...] = ()
    """Licences and attributions of the data; they go with the adapter."""

    def __post_init__(self) -> None:
        _at_least(self, 0, "held_out_limit", "limit")
        _at_least(self, 8, "max_tokens")
        if not 0 <= self.held_out_fraction < 1:
            raise SparseDoctorError(
                f"held_out_fraction is {self.held_out_fraction}; expected 0 to below 1"
            )


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How it is learned."""

    base: str = "smollm2"
    """The base: smollm2, a GGUF file, or a Hugging Face folder."""
    steps: int = 200
    """Optimiser steps."""
    batch: int = 4
    """Rows in a micro-step, on each device."""
    accumulate: int = 1
    """Micro-steps in an optimiser step."""
    learning_rate: float = 5e-4
    """Highest learning rate of the experts. Alpha times it is the speed of learning: with the
    default alpha 2e-3 suits a 135M base and short runs, a 0.5B base wants 1e-4 to 3e-4."""
    router_rate: float = 20.0
    """Learning rate of router and projection, as a multiple of learning_rate, on a base whose
    routers read vectors as large as SmolLM2's; where they are larger it is as much lower. At the
    experts' rate a router hardly leaves its start in a few hundred steps (docs/method.md)."""
    warmup: int = 10
    """Steps until the learning rate is reached."""
    schedule: Schedule = "cosine"
    """How the learning rate falls afterwards."""
    weight_decay: float = 0.0
    """Weight decay of AdamW."""
    clip: float = 1.0
    """Longest gradient (2-norm); longer ones are shortened."""
    seed: int = 17
    """Seed of weights, order and everything else that is drawn."""
    precision: Precision = "auto"
    """Type of the base's weights and of the arithmetic; auto: bfloat16 on CUDA, else float32."""
    four_bit: bool = False
    """Keep the base, a Hugging Face folder, in 4 bits (needs bitsandbytes)."""
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    """Attention kernel; auto: eager for bfloat16 on a CPU, where sdpa's backward pass is slow."""
    gradient_checkpointing: bool = False
    """Compute activations again instead of keeping them: less memory, a third more time."""
    freeze_router: bool = False
    """Leave the router as it was drawn (to learn whether routing matters at all)."""
    log_every: int = 10
    """Steps between lines of progress and of log.jsonl."""
    save_every: int = 50
    """Steps between checkpoints; a multiple of evaluate_every."""
    evaluate_every: int = 50
    """Steps between measurements of the held-out loss; 0 for none."""
    health_every: int = 50
    """Steps between lines of health.jsonl; 0 for none."""
    keep: int = 2
    """Checkpoints kept beside the best one."""
    patience: int = 0
    """Measurements without a better held-out loss after which the run stops; 0: never."""
    adapter_precision: Literal["float32", "float16", "bfloat16"] = "float32"
    """Type of the finished adapter's weights."""
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto: CUDA when there is one."""

    def __post_init__(self) -> None:
        _at_least(self, 1, "steps", "batch", "accumulate", "log_every", "save_every")
        _at_least(self, 0, "warmup", "evaluate_every", "health_every", "patience", "threads")
        _at_least(self, 2, "keep")  # one may be incomplete when the machine is switched off
        if not 0 <= self.seed < 2**32:
            raise SparseDoctorError(f"seed is {self.seed}; expected 0 to {2**32 - 1}")
        if self.learning_rate <= 0 or self.router_rate < 0 or self.weight_decay < 0:
            raise SparseDoctorError(
                "learning_rate must be above 0, router_rate and weight_decay not below"
            )
        if self.evaluate_every and self.save_every % self.evaluate_every:
            raise SparseDoctorError(
                f"save_every ({self.save_every}) must be a multiple of evaluate_every "
                f"({self.evaluate_every}): the best checkpoint is chosen by its held-out loss"
            )
        if self.patience and not self.evaluate_every:
            raise SparseDoctorError("patience needs held-out losses; set evaluate_every")


@dataclass(frozen=True, slots=True)
class Settings:
    """All of a run. The sections have no name in common."""

    data: DataSettings = field(default_factory=DataSettings)
    experts: ExpertSettings = field(default_factory=ExpertSettings)
    supervision: SupervisionSettings = field(default_factory=SupervisionSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


SECTIONS: dict[str, type[Any]] = {
    "data": DataSettings,
    "experts": ExpertSettings,
    "supervision": SupervisionSettings,
    "run": RunSettings,
}


class _NoneTwice(yaml.SafeLoader):
    """YAML in which no name stands twice, as in TOML; PyYAML takes the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if name.value in seen:
                line = name.start_mark.line + 1
                raise yaml.YAMLError(f"{name.value} stands there a second time, in line {line}")
            seen.add(name.value)
        return dict(super().construct_mapping(node, deep=deep))


def read_settings_file(path: Path) -> dict[str, dict[str, Any]]:
    """The sections of a TOML or YAML file, as written there.

    Raises SparseDoctorError for a file that cannot be read or names something unknown.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _NoneTwice)
    except OSError as error:
        raise SparseDoctorError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise SparseDoctorError(f"{path} is neither TOML nor YAML: {reason}") from error
    if table is None:
        return {}
    if isinstance(table, dict):
        table = {name: {} if part is None else part for name, part in table.items()}
    if not isinstance(table, dict) or not all(isinstance(part, dict) for part in table.values()):
        raise SparseDoctorError(f"{path} has settings outside a section; use {_names(SECTIONS)}")
    for section, values in table.items():
        if section not in SECTIONS:
            raise SparseDoctorError(
                f"{path} has the unknown section {section!r}; known: {_names(SECTIONS)}"
            )
        known = {item.name for item in dataclasses.fields(SECTIONS[section])}
        for name in values:
            if name not in known:
                raise SparseDoctorError(
                    f"{path} has the unknown setting {section}.{name}; known: {_names(known)}"
                )
    return table


def build_settings(*layers: dict[str, dict[str, Any]]) -> Settings:
    """Settings from tables of sections; a later table wins. Raises SparseDoctorError for a
    value of the wrong kind or wrong combinations."""
    merged: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for layer in layers:
        for section, values in layer.items():
            merged[section] |= values
    built = {}
    for section, kind in SECTIONS.items():
        hints = typing.get_type_hints(kind)
        values = {
            name: _typed(f"{section}.{name}", value, hints[name])
            for name, value in merged[section].items()
        }
        built[section] = kind(**values)
    return Settings(**built)


def _typed(name: str, value: Any, wanted: Any) -> Any:
    """`value` as the type a field wants, where nothing is lost by it."""
    if isinstance(wanted, types.UnionType):  # only "text or nothing" occurs
        return None if value is None else _typed(name, value, str)
    if typing.get_origin(wanted) is Literal:
        if value in typing.get_args(wanted):
            return value
        raise SparseDoctorError(
            f"{name} is {value!r}; expected one of {_names(typing.get_args(wanted))}"
        )
    if typing.get_origin(wanted) is tuple:
        items = [value] if isinstance(value, str) else value
        if isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items):
            return tuple(items)
        raise SparseDoctorError(f"{name} is {value!r}; expected a list of texts")
    if wanted is bool or isinstance(value, bool):
        if wanted is bool and isinstance(value, bool):
            return value
    elif wanted is float and isinstance(value, (int, float, str)):
        try:
            number = float(value)  # YAML reads 1e-3 as a text
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
        raise SparseDoctorError(f"{name} is {value!r}; expected a finite number")
    elif isinstance(value, wanted):
        return value
    raise SparseDoctorError(f"{name} is {value!r}; expected {wanted.__name__}")


def _at_least(settings: Any, least: int, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < least:
            raise SparseDoctorError(f"{name} is {getattr(settings, name)}; at least {least}")


def _names(names: Any) -> str:
    return ", ".join(sorted(str(name) for name in names))
