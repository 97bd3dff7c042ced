"""What a training step keeps in memory, written out. No torch.

Weights, gradients and the optimizer's moments, and for the backward pass what each block has made
of its tokens. A ResNet's maps are not written out: there is no prediction for it, nor for a hybrid.
"""

from __future__ import annotations

from vitcli import perf
from vitcli.config import RunConfig
from vitcli.sets import UNKNOWN_CLASSES

_FP32, _BF16 = 4, 2  # bytes


def needed(config: RunConfig, micro_batch: int, processes: int, bf16: bool) -> float | None:
    """Returns the bytes that each process needs to train, at most; None of a model with a ResNet.

    Args:
        micro_batch: images that one process has at once.
        processes: of the run.
        bf16: matrices are multiplied in bf16.
    """
    if config.model.family != "vit" or config.stem.layers:
        return None
    classes = config.data.num_classes or UNKNOWN_CLASSES
    parameters, _ = perf.count(config, config.data.height_width, classes)
    moments = 2 if config.recipe.optimizer == "adamw" else 1
    copies = int(config.recipe.polyak > 0) + int(config.train.keep == "best")
    kept = float(_FP32) * parameters * (1 + 1 + moments + copies)
    if config.parallel == "fsdp" and processes > 1:
        block = perf.block_parameters(config.model)
        root = parameters - config.model.depth * block
        # At once: the blocks at work and next, the one's gradient and its copy for the exchange.
        kept = kept / processes + _FP32 * (2 * root + 4 * block)
    if bf16:
        kept += _BF16 * parameters  # autocast's copies of the weights
    return kept + micro_batch * _activations(config, bf16)


def fits(config: RunConfig, micro_batch: int, processes: int, bf16: bool, there: float) -> int:
    """Returns the largest micro-batch, halved from this one, that needs no more than `there` bytes.

    0: not even one image would fit. Of a model without a prediction it is half of this one.
    """
    smaller = micro_batch // 2
    while smaller and (need := needed(config, smaller, processes, bf16)) is not None:
        if need <= there:
            break
        smaller //= 2
    return smaller


def _activations(config: RunConfig, bf16: bool) -> float:
    """Returns the bytes that the blocks keep of one image for the backward pass."""
    model, tokens = config.model, perf.num_tokens(config.model, config.data.height_width)
    small = _BF16 if bf16 else _FP32
    between = 2 * tokens * model.embed_dim * _FP32  # the residual stream, before each norm
    # Two norms' outputs, queries, keys, values, what attention gives; the MLP's, before its GELU
    # and after; the softmax.
    inside = (6 * model.embed_dim + 2 * model.mlp_dim) * tokens
    inside += model.num_heads * tokens * tokens
    block = between + inside * small
    if config.recompute:  # a block's input, and all of the one that is computed again
        return model.depth * between / 2 + block
    return model.depth * block
