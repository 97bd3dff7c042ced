"""What another resolution does to a model before it is tuned to it (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitcli.config import DataConfig, RunConfig
from vitcli.evals.evaluator import Evaluator
from vitcli.frozen import read_config
from vitcli.schema import Metric
from vitcli.sets import sizes

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vitcli.data import DataSource


class ZeroShot(Evaluator):
    """Yields, as references, the top-1 of the source run's own head on its own validation images.

    zero_shot/val/top1 is at the fine-tuning run's resolution, with its interpolation of position
    embeddings; zero_shot/source_top1 at the resolution that the source was trained at.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        """Reads the source's config. Raises ValueError if the source is no run of ours."""
        assert config.finetune.source is not None  # by the rules
        self._config, self._device = config, device
        self._said: list[str] = []
        path = Path(config.finetune.source) / "config.yaml"
        if not path.exists():
            raise ValueError(
                f"evals.zero_shot=true with finetune.source={config.finetune.source}: only the "
                "folder of a run says which images it was trained on"
            )
        self._data = read_config(path).data

    @classmethod
    def metrics(cls, config: RunConfig) -> dict[str, Metric]:
        """Returns both metrics where evals.zero_shot is set and there is a source."""
        if not config.evals.zero_shot or config.finetune.source is None:
            return {}
        label = "upstream top-1 at the new resolution, before any tuning"
        source = Metric("upstream top-1 at the source's own resolution")
        return {"zero_shot/val/top1": Metric(label), "zero_shot/source_top1": source}

    @classmethod
    def images(cls, config: RunConfig) -> int:
        """Returns validation images at two sizes, of a source's set as large as this one."""
        return 2 * (sizes(config.data)[1] or 0) if cls.metrics(config) else 0

    @classmethod
    def build(cls, config: RunConfig, data: DataSource, device: torch.device) -> list[ZeroShot]:
        """Returns one where evals.zero_shot is set. Raises ValueError for a source not ours."""
        return [cls(config, device)] if cls.metrics(config) else []

    def protocol(self) -> dict[str, Any]:
        """Returns the parts of the measurement that its numbers depend on."""
        sizes = {"img_size": self._config.data.img_size, "source_img_size": self._data.img_size}
        return {"name": "zero_shot", "data": self._data.name, **sizes}

    def run(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields nothing: tuning replaces the head."""
        return iter(())

    def references(self, untrained: nn.Module) -> Iterator[tuple[str, float]]:
        """Yields (name, value)."""
        yield "zero_shot/val/top1", self._top1(self._config.data)
        yield "zero_shot/source_top1", self._top1(self._data)

    def notes(self) -> list[str]:
        """Returns what of the source's data was left out or assumed."""
        return self._said

    def _top1(self, sized: DataConfig) -> float:
        """Returns the source's accuracy on its own data, at the size of the images of `sized`."""
        import torch

        from vitcli.data import build_data
        from vitcli.evals.inference import top1
        from vitcli.models.convert import read

        finetune, device = self._config.finetune, self._device
        assert finetune.source is not None
        with torch.random.fork_rng([]):
            # As the run: resize=reinit then draws the table that its training begins with.
            torch.default_generator.manual_seed(self._config.seed)
            checkpoint = read(finetune.source)
            if sized.height_width != self._data.height_width:
                method = None if finetune.resize == "auto" else finetune.resize
                checkpoint, _ = checkpoint.resize(sized.height_width, method)
            model = checkpoint.build().to(device)
        data = build_data(replace(self._data, img_size=sized.img_size), device)
        found = top1(model, data, "val", device)
        self._said += [f"zero_shot: {line}" for line in data.said()]
        return found
