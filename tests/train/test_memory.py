"""The memory of a run is said before it is loaded, and what would make it fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.memory import BaseSize, base_size, check_memory, predict_memory
from sparsedoctor.train.settings import Settings, build_settings

SMOLLM2 = BaseSize(134_515_008, 576, 1536, 30, 9, 49_152)


def _settings(**run: object) -> Settings:
    return build_settings({"run": dict(run), "experts": {"rank": 4, "shared_rank": 16}})


def test_every_part_has_the_size_its_formula_says() -> None:
    memory = predict_memory(_settings(), SMOLLM2, half=False, eager=False)
    trained = 30 * (3 * (4 * 4 + 16) * (576 + 1536) + 4 * 576)
    assert memory.weights == 4 * 134_515_008
    assert memory.experts == memory.gradients == 4 * trained
    assert memory.optimiser == 8 * trained
    assert memory.queue == 30 * 4 * 256 * (2 * 128 + 8)
    assert memory.total == sum(
        (memory.weights, 4 * memory.experts, memory.queue, memory.activations)
    )


def test_each_lever_lowers_it() -> None:
    whole = predict_memory(_settings(), SMOLLM2, half=False, eager=False).total
    less = (
        predict_memory(_settings(batch=1), SMOLLM2, half=False, eager=False),
        predict_memory(_settings(gradient_checkpointing=True), SMOLLM2, half=False, eager=False),
        predict_memory(_settings(), SMOLLM2, half=True, eager=False),
    )
    assert all(memory.total < whole for memory in less)
    assert predict_memory(_settings(), SMOLLM2, half=False, eager=True).total > whole


@pytest.mark.parametrize(
    ("free_mib", "said"),
    [(2600, "--gradient-checkpointing"), (1100, "--batch 1"), (100, "use a smaller base")],
)
def test_what_does_not_fit_is_refused_with_the_setting_that_would(free_mib: int, said: str) -> None:
    settings = _settings(batch=4)
    with pytest.raises(SparseDoctorError) as error:
        check_memory(settings, SMOLLM2, half=False, eager=False, free=free_mib << 20)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_size_of_the_real_base_is_read_without_loading_it(smollm2_gguf: object) -> None:
    size = base_size("smollm2")
    assert size == replace(SMOLLM2, parameters=size.parameters)
    assert abs(size.parameters - SMOLLM2.parameters) < 1e5
