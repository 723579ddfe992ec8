"""`--dry-run`: what would be trained on and what it would need, without training."""

from __future__ import annotations

from sparsedoctor.core.moe.base import load_tokenizer
from sparsedoctor.train.data.batches import Packed
from sparsedoctor.train.data.describe import describe_data
from sparsedoctor.train.machine import Machine
from sparsedoctor.train.material import choose_examples, encode_material
from sparsedoctor.train.memory import (
    added_parameters,
    base_size,
    predict_memory,
    resident_memory,
    trained_parameters,
)
from sparsedoctor.train.settings import Settings


def dry_run(settings: Settings) -> int:
    """Print counts, token histograms, an example with its loss mask, parameters and memory."""
    examples = choose_examples(settings.data, settings.run.seed)
    size = base_size(settings.run.base)
    tokenizer = load_tokenizer(settings.run.base)
    material = encode_material(examples, settings.data, tokenizer)
    packed = [row for row in material.training if isinstance(row, Packed)]
    print(
        describe_data(
            material.encoded,
            material.measured,
            tokenizer,
            max_tokens=settings.data.max_tokens,
            packed=packed if settings.data.pack else None,
        )
    )
    machine = Machine.of(settings.run)
    trained = trained_parameters(settings, size)
    everything = size.parameters + added_parameters(settings, size)
    print(f"\ntrained parameters: {trained:,} of {everything:,} ({trained / everything:.2%})")
    resident = resident_memory(cuda=machine.cuda)
    memory = predict_memory(
        settings,
        size,
        half=machine.half,
        eager=machine.eager,
        resident=resident,
        learned=material.most_learned,
    )
    print(memory.text())
    return 0
