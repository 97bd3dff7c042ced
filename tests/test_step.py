"""The compiled step equals the plain one; when it is taken; what a study packs onto which cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vitcli import perf
from vitcli.bench import trainer_of
from vitcli.compose import compose
from vitcli.config import RunConfig
from vitcli.step import Loss, build_loss, compiles, precision
from vitcli.stops import Interrupted
from vitcli.trainer import Trainer, find_device

CPU = torch.device("cpu")
SMALL = ["model.depth=2", "train.batch_size=8", "data.size=64", "data.val_size=8", "evals=upstream"]


def gradients(config: RunConfig) -> tuple[float, dict[str, Tensor]]:
    """The loss of the first batch and all gradients, of weights that another seed would change."""
    torch.manual_seed(0)
    trainer = trainer_of(config)
    for name, parameter in trainer.model.named_parameters():
        if name.startswith("head") and name.endswith("weight"):  # of zeros, it passes nothing on
            torch.nn.init.normal_(parameter, std=0.1)
    images, labels = trainer.data.train_batch(torch.arange(8))
    loss = build_loss(trainer.model, config, trainer.num_steps)(images, labels)
    torch.autograd.backward(loss)
    return loss.item(), {
        n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None
    }


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("kind", ["none", "learned_1d", "learned_2d", "relative", "sincos_2d"])
@pytest.mark.parametrize(("bits", "tolerance"), [("fp32", 2e-5), ("bf16", 0.03)])
def test_compiled_equals_plain(kind: str, bits: str, tolerance: float) -> None:
    words = [*SMALL, f"pos_emb={kind}", f"train.precision={bits}"]
    plain, expected = gradients(compose([*words, "compile=off"]))
    fast, found = gradients(compose([*words, "compile=on"]))
    assert fast == pytest.approx(plain, rel=tolerance)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        apart = (found[name] - gradient).norm() / gradient.norm().clamp_min(1e-6)
        assert apart < tolerance, name


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("model", ["model=bit_nano", "stem=resnet_nano", "model.gelu=tanh"])
def test_compiled_equals_plain_in_other_models(model: str) -> None:
    words = [*SMALL[1:], model, "train.precision=fp32"]
    plain, expected = gradients(compose([*words, "compile=off"]))
    fast, found = gradients(compose([*words, "compile=on"]))
    assert fast == pytest.approx(plain, rel=1e-4)
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() < 1e-3 * gradient.norm().clamp_min(1e-3), name


@pytest.mark.slow
@pytest.mark.compiled
def test_a_compiled_run_resumes_bit_for_bit_and_drops_out_as_a_plain_one(tmp_path: Path) -> None:
    def made(where: str, how: str) -> Trainer:
        config = compose([*SMALL, "recipe.dropout=0.1", "train.steps=8", f"compile={how}"])
        torch.manual_seed(0)
        trainer = trainer_of(config)
        trainer.folder = tmp_path / where
        return trainer

    def weights(trainer: Trainer) -> Tensor:
        return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])

    whole = made("whole", "on")
    whole.train(lambda record: None, lambda: False)
    broken = made("broken", "on")
    with pytest.raises(Interrupted):
        broken.train(lambda record: None, lambda: broken.step >= 3)
    rest = made("broken", "on")
    rest.resume()
    rest.train(lambda record: None, lambda: False)
    assert torch.equal(weights(rest), weights(whole))
    plain = made("plain", "off")
    plain.train(lambda record: None, lambda: False)
    assert (weights(plain) - weights(whole)).norm() < 1e-2 * weights(whole).norm()


def test_a_run_is_compiled_from_a_length_on_and_where_there_is_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = compose([])
    steps = {
        length: int(length / (6 * perf.count(config, (16, 16), 64)[1] * 64))
        for length in (1e12, 2e12)
    }
    monkeypatch.setenv("CXX", sys.executable)  # stands for a compiler: nothing is compiled here
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert not compiles(config, steps[2e12], CPU)  # g++, but no Python.h
    (tmp_path / "Python.h").touch()
    assert not compiles(config, steps[1e12], CPU)
    assert compiles(config, steps[2e12], CPU)
    assert not compiles(compose(["compile=off"]), steps[2e12], CPU)
    assert compiles(compose(["compile=on"]), 1, CPU)
    assert compiles(compose(["stem=resnet_nano"]), steps[2e12], CPU)
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    assert not compiles(config, steps[2e12], CPU)


@pytest.mark.parametrize(
    ("model", "found"),
    [("model=pico", "bf16"), ("model=bit_nano", "fp32"), ("stem=resnet_nano", "bf16")],
)
def test_without_amx_bf16_is_for_vits_and_hybrids(
    monkeypatch: pytest.MonkeyPatch, model: str, found: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    for compiled in ("on", "off"):
        assert precision(compose([model, f"compile={compiled}"]), 10, CPU) == found
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert precision(compose([model, "compile=on"]), 10, CPU) == "fp32"


@pytest.mark.parametrize(("card", "found"), [("T4", "fp32"), ("H100", "bf16")])
def test_a_gpu_that_imitates_bf16_has_fp32(
    monkeypatch: pytest.MonkeyPatch, card: str, found: str
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or card == "H100"

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert precision(compose([]), 10, torch.device("cuda")) == found


@pytest.mark.parametrize("amx", [True, False])
def test_bf16_where_the_processor_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, amx: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx})
    fast = "bf16" if amx else "fp32"
    assert precision(compose(["compile=off"]), 9, CPU) == "fp32"
    assert precision(compose(["compile=on"]), 9, CPU) == fast
    assert precision(compose(["model=ti", "compile=off"]), 9, CPU) == fast
    assert precision(compose(["train.precision=bf16"]), 9, CPU) == "bf16"


def test_pieces_of_a_batch_are_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def fake(loss: Loss, device: torch.device, has_resnet: bool) -> Loss:
        def counted(images: Tensor, labels: Tensor) -> Tensor:
            compiled.append(len(images))
            return loss(images, labels)

        return counted

    monkeypatch.setattr("vitcli.step._compiled", fake)
    trainer = trainer_of(compose([*SMALL, "compile=on"]))
    for processes, fast in ((1, [8, 4]), (3, [3, 2])):  # of three, two have an image more
        compiled.clear()
        loss = build_loss(trainer.model, trainer.config, 1, processes)
        for size in (8, 7, 4, 3, *[2] * (processes > 1)):
            loss(*trainer.data.train_batch(torch.arange(size)))
        assert compiled == fast


def test_the_cores_are_those_that_this_process_may_use() -> None:
    one = min(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, [{one}])\n"
    script += "from vitcli.machine import cores; print(cores())"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "1"


def test_compiling_is_no_part_of_a_run_s_identity() -> None:
    from vitcli.identity import run_id

    assert run_id(compose(["compile=off"])) == run_id(compose([]))


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_a_device_that_is_not_here_is_refused(kind: str) -> None:
    if getattr(torch, kind).is_available():
        assert find_device(compose([f"device={kind}"])).type == kind
        return
    with pytest.raises(ValueError, match=f"device={kind}: there is none here; choose from auto"):
        find_device(compose([f"device={kind}"]))


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_an_untested_device_says_so_and_has_fp32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    monkeypatch.setattr(getattr(torch, kind), "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    config = compose([f"device={kind}"])
    device = find_device(config)
    assert f"device={kind} is untested" in caplog.text
    assert precision(config, 10, device) == "fp32"
    assert find_device(compose([])).type in ("cpu", "cuda")
