"""How a step's loss is computed here: in which precision, and compiled where that pays."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vitcli import perf
from vitcli.config import RunConfig
from vitcli.machine import missing_to_compile

# Compiling takes 15 s (a ViT) to 45 s (a ResNet), 2 s where the cache on disk has the shape; it
# makes a ViT's step 1.2 (fp32) to 1.4 times (bf16) as fast, a ResNet's or hybrid's 1.2 to 1.7.
# From a training of half a minute on, two runs of one shape are faster for it; FLOPs stand for the
# time, so that a run's length decides and not how fast the machine is just now.
_PAYS = 1.5e12  # training FLOPs, on a CPU; on a GPU it has not been measured
# Widths of a ViT from which a CPU's AMX pays for the casts to bf16: not compiled, compiled.
_WIDE, _NARROW = 128, 64
Loss = Callable[[Tensor, Tensor], Tensor]


class NotCompiled(RuntimeError):
    """The step cannot be compiled here."""


def compiles(config: RunConfig, num_steps: int, device: torch.device) -> bool:
    """Returns whether the training of so many steps is compiled on `device`."""
    if config.compile != "auto":
        return config.compile == "on" and num_steps > 0
    if config.parallel == "fsdp":  # not measured
        return False
    if device.type != "cpu" or missing_to_compile():
        return False
    _, macs = perf.count(config, config.data.height_width, config.data.num_classes or 2)
    return 6.0 * macs * num_steps * config.train.batch_size >= _PAYS


def precision(config: RunConfig, num_steps: int, device: torch.device) -> str:
    """Returns the run's `fp32` or `bf16`; for `auto` whichever trains faster on `device`.

    Measured on a CPU with AMX, one thread: compiled, bf16 trains a ViT pico 0.8 times as fast as
    fp32, a nano 1.15, a micro 1.8, a hybrid pico 1.1 times, a BiT nano as fast; else a ViT of width
    192 2.1 times, one of width 64 within 7 %.
    With AVX-512's bf16 alone a ViT pico is as fast, a nano 1.3 times, one of width 192 1.8 times,
    compiled or not; a hybrid nano, not compiled, 1.15 times; a BiT nano, compiled while layouts
    were still changed, 0.74 times.
    """
    if config.train.precision != "auto":
        return config.train.precision
    if device.type != "cpu":  # older cards imitate it, slower than fp32
        return "bf16" if has_bf16(device) else "fp32"
    able, vit = torch.cpu.get_capabilities(), config.model.family == "vit"
    if able.get("amx_bf16", False):
        width, pure = config.model.embed_dim, vit and not config.stem.layers
        wide, narrow = vit and width >= _WIDE, pure and width < _NARROW
        pays = wide or (not narrow and compiles(config, num_steps, device))
        return "bf16" if pays else "fp32"
    return "bf16" if vit and able.get("avx512_bf16", False) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Returns whether the device multiplies in bf16.

    A CPU that does not imitates it: on one with AVX2 alone, the rounds took more than nine minutes.
    """
    if device.type != "cpu":  # not known of Apple's and Intel's
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "arm_bf16"))


def build_loss(model: nn.Module, config: RunConfig, num_steps: int, processes: int = 1) -> Loss:
    """Returns what computes the mean loss of images (B, 3, H, W) and labels (B,) or (B, K).

    Compiled and plain do the same operations; the compiled one rounds less often.
    """
    device = next(model.parameters()).device
    bf16 = precision(config, num_steps, device) == "bf16"
    smoothing = config.recipe.label_smoothing

    def plain(images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(images)
        return cross_entropy(logits.float(), labels, label_smoothing=smoothing)

    if not compiles(config, num_steps, device):
        return plain
    micro_batch = config.train.batch_size // config.train.accumulate
    shares = (micro_batch // processes, -(-micro_batch // processes))  # of one process
    has_resnet = config.model.family != "vit" or bool(config.stem.layers)
    fast = _compiled(plain, device, has_resnet)

    def chosen(images: Tensor, labels: Tensor) -> Tensor:
        # A batch in which images could not be decoded has a shape of its own, which is not
        # compiled; the pieces of train.auto_batch are.
        whole = any(share % len(images) == 0 for share in shares)
        return (fast if whole else plain)(images, labels)

    return chosen


def _compiled(loss: Loss, device: torch.device, has_resnet: bool) -> Loss:
    from torch._dynamo import config as dynamo
    from torch._dynamo.exc import TorchDynamoException
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor

    # A study's worker trains many shapes: after the eighth torch would go on without compiling.
    dynamo.recompile_limit = 256
    # Else a ReLU of whose output a matmul takes a view leaves the backward pass a mask, too, and to
    # write that takes ten times as long as the group norm. A ViT micro is 6 % slower with it.
    functorch.recompute_views = has_resnet
    # Runs of a study compile side by side, a core each; and no process outlives its run.
    inductor.compile_threads = 1
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # that there is no CUDA
    options: dict[str, str | int | bool | Callable[..., object]] = {
        "fallback_random": True,  # dropout draws what it draws without compiling
        # Else convolutions write channels last, where sums of group norms are strided: on a CPU
        # a BiT nano's step in bf16 takes 1.6 times as long then, longer than without compiling.
        "layout_optimization": device.type != "cpu",
    }
    compiled: Loss = torch.compile(loss, dynamic=False, options=options)

    def named(images: Tensor, labels: Tensor) -> Tensor:
        try:
            return compiled(images, labels)
        except TorchDynamoException as error:
            why, missing = str(error).strip().splitlines()[0], missing_to_compile()
            why += f"; {missing} is not here" if missing else ""
            raise NotCompiled(
                f"the step cannot be compiled: {why} (compile=off: not compiled)"
            ) from error

    return named
