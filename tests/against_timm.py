"""The same training on Fashion-MNIST by timm's train.py and by vitcli: `make against-timm`.

train.py is not in timm's package: it lies at the root of its repository. Both train a ViT of nano's
shape on 32-pixel images (65 tokens) without augmentation, the same number of steps of the same
batches at the same rates, each seed in a process of its own, in turn. What is timed is the whole
process, start, data and a last validation included. timm reads the set from a folder of PNGs, since
with torchvision's grey images its loader stops; vitcli reads the original files.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torchvision.datasets import FashionMNIST

from vitcli.analysis.intervals import t_quantile
from vitcli.compose import compose
from vitcli.files import write_text
from vitcli.progress import measuring

EPOCHS, BATCH, LR, DECAY, CLIP = 3, 64, 1e-3, 0.05, 1.0
IMG_SIZE = 32
IMAGES = 60_000 // BATCH * BATCH  # of an epoch: both drop the rest
Numbers = tuple[float, float]  # top-1, seconds

TIMM = f"""--train-split train --val-split test --img-size {IMG_SIZE}
    --num-classes 10 --model vit_base_patch16_224 --no-aug --interpolation bilinear
    --train-interpolation bilinear --crop-pct 1.0 --mean 0.5 0.5 0.5 --std 0.5 0.5 0.5
    --smoothing 0 --opt adamw --lr {LR} --weight-decay {DECAY} --clip-grad {CLIP}
    --sched cosine --sched-on-updates --warmup-epochs 0 --epochs {EPOCHS} --val-interval {EPOCHS}
    --batch-size {BATCH} --workers 2 --device cpu --checkpoint-hist 1""".split()
OURS = f"""data=fashion_mnist data.img_size={IMG_SIZE} evals=upstream model=nano recipe.lr={LR}
    recipe.betas=[0.9,0.999] recipe.warmup_steps=0
    recipe.weight_decay={DECAY} recipe.grad_clip={CLIP} train.batch_size={BATCH}
    train.steps={EPOCHS * IMAGES // BATCH}""".split()


def write_pngs(root: Path, folder: Path) -> None:
    """Writes folder/train/CLASS/NUMBER.png and folder/test/... of the set in `root`."""
    for part in ("train", "test"):
        for number, (image, label) in enumerate(FashionMNIST(str(root), train=part == "train")):
            path = folder / part / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)


def by_timm(train_py: Path, root: Path, seed: int, folder: Path) -> Numbers:
    """Returns top-1 and seconds of timm's train.py, in fp32, its fastest at this width."""
    model = compose(["model=nano"]).model
    shape = [
        f"patch_size={model.patch_size}", f"embed_dim={model.embed_dim}", f"depth={model.depth}",
        f"num_heads={model.num_heads}", f"mlp_ratio={model.mlp_dim // model.embed_dim}",
        "weight_init=jax", f"img_size={IMG_SIZE}",
    ]  # fmt: skip
    place = ["--data-dir", str(root), "--seed", str(seed), "--output", str(folder)]
    command = [sys.executable, str(train_py), *TIMM, *place, "--experiment", "timm"]
    seconds = _seconds([*command, "--model-kwargs", *shape])
    with (folder / "timm" / "summary.csv").open() as file:
        return float(list(csv.DictReader(file))[-1]["eval_top1"]) / 100, seconds


def by_vitcli(root: Path, seed: int, folder: Path) -> Numbers:
    """Returns top-1 and seconds of `vitcli train`."""
    place = [f"data.root={root}", f"seed={seed}", f"outputs={folder}"]
    seconds = _seconds([sys.executable, "-m", "vitcli", "train", *OURS, *place])
    (result,) = folder.glob("runs/*/result.json")
    return json.loads(result.read_text())["metrics"]["val/top1"], seconds


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{' '.join(command)}\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}")
    return time.perf_counter() - began


def report(found: dict[str, list[Numbers]]) -> str:
    """Returns the table and whether the two differ, in Markdown."""
    lines = [
        "# Fashion-MNIST: vitcli and timm's train.py", "",
        f"ViT nano, 65 tokens, {EPOCHS} epochs of {IMAGES:,} images in batches of {BATCH}, AdamW, "
        f"rate {LR:g}, cosine, no augmentation. Whole processes, start and validation included.",
        "", "| | top-1, each seed | mean | images/s, median |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    speeds = {}
    for name, runs in found.items():
        top1s = [top1 for top1, _ in runs]
        speeds[name] = statistics.median(EPOCHS * IMAGES / seconds for _, seconds in runs)
        each = ", ".join(f"{top1:.4f}" for top1 in top1s)
        lines.append(f"| {name} | {each} | {statistics.mean(top1s):.4f} | {speeds[name]:,.0f} |")
    gaps = [a - b for (a, _), (b, _) in zip(*found.values(), strict=True)]
    mean, n = statistics.mean(gaps), len(gaps)
    half = t_quantile(n - 1, 0.975) * statistics.stdev(gaps) / n**0.5
    ours, timm = speeds.values()
    lines += [
        "",
        f"Difference in top-1: {mean:+.4f}, 95 % interval {mean - half:+.4f} to "
        f"{mean + half:+.4f} over {n} seeds. Speed: {ours / timm:.2f} times timm's.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(train_py: Path, root: Path, seeds: int, path: Path) -> None:
    """Runs both in turn for each seed, prints the report and writes it to `path`."""
    found: dict[str, list[Numbers]] = {"vitcli": [], "timm": []}
    with (
        measuring("against timm", seeds, quiet=False) as tell,
        tempfile.TemporaryDirectory() as png,
    ):
        write_pngs(root, Path(png))
        for seed in range(seeds):
            tell("seed")
            with tempfile.TemporaryDirectory() as folder:
                found["vitcli"].append(by_vitcli(root, seed, Path(folder) / "ours"))
                found["timm"].append(by_timm(train_py, Path(png), seed, Path(folder)))
    text = report(found)
    print(text)
    write_text(path, text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
