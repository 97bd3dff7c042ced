"""`vitcli new study`: a small study, commented, that runs as it is."""

from __future__ import annotations

import re
from pathlib import Path

from vitcli.catalog import studies
from vitcli.files import write_text
from vitcli.study.file import file_of

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEMPLATE = """\
# {name}: does a deeper ViT learn more from the same images? Change it into your own question.
title: Depth of a ViT
metric: val/top1             # what is judged; of few-shot transfer: fewshot/{{downstream}}/5shot

rows:                        # one design choice: each option, and what it sets in a run's config
  shallow: {{label: 2 layers, overrides: [model.depth=2]}}
  deep: {{label: 4 layers, overrides: [model.depth=4]}}
columns:                     # another one; the cells are rows times columns
  few: {{label: 1000 images, overrides: [data.size=1000]}}
  many: {{label: 4000 images, overrides: [data.size=4000]}}

claims:                      # what you expect, judged over the seeds with intervals
  - id: deeper-is-better
    statement: Four layers are better than two.
    where: my own question
    at_least: {{laptop: 0.01}} # a smaller effect would not matter
    pairs: [[deep-few, shallow-few], [deep-many, shallow-many]]   # ROW-COLUMN: the better one first

paper: {{where: none, metric: none}}      # nothing published is compared with
seeds: [0, 1, 2]                        # each draws weights, order and images anew
scales:
  laptop:                               # what every run has
    overrides: [model=pico, train.images=20000, evals=upstream]
"""


def write_study(name: str, config_dir: Path) -> Path:
    """Writes a study of that name into a user's folder of configs and returns its file.

    Raises:
        ValueError: it is no name of a study, or there is such a study already.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"new study {name}: small letters, digits and - only, such as my-depth")
    path = config_dir / "study" / file_of(name)
    if path.exists() or name in studies(config_dir):
        raise ValueError(f"new study {name}: there is one already ({studies(config_dir)[name]})")
    write_text(path, _TEMPLATE.format(name=name))
    return path
