"""Makes golden.csv from votes.csv by another road than ours: Elo by its definition, Bradley-Terry by maximising the likelihood.

python tests/evaluate/ranking/make_golden.py
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

FOLDER = Path(__file__).parent
SHARE = {"left": 1.0, "tie": 0.5, "right": 0.0}


def main() -> None:
    with (FOLDER / "votes.csv").open(encoding="utf-8") as file:
        votes = [(row["left"], row["right"], SHARE[row["winner"]]) for row in csv.DictReader(file)]
    models = sorted({name for left, right, _ in votes for name in (left, right)})
    rows = [("elo", model, score) for model, score in zip(models, elo(votes, models), strict=True)]
    rows += [("bradley_terry", model, score) for model, score in zip(models, bradley_terry(votes, models), strict=True)]
    with (FOLDER / "golden.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("algorithm", "item", "score"), *rows])


def elo(votes: list[tuple[str, str, float]], models: list[str]) -> list[float]:
    """Elo 1978: each after the other, K 4."""
    scores = dict.fromkeys(models, 1000.0)
    for left, right, share in votes:
        gain = 4 * (share - 1 / (1 + 10 ** ((scores[right] - scores[left]) / 400)))
        scores[left] += gain
        scores[right] -= gain
    return [scores[model] for model in models]


def bradley_terry(votes: list[tuple[str, str, float]], models: list[str]) -> list[float]:
    """Strengths of sum 1 under which the votes are likeliest; a tie is half a win and half a loss."""
    left = np.array([models.index(vote[0]) for vote in votes])
    right = np.array([models.index(vote[1]) for vote in votes])
    share = np.array([vote[2] for vote in votes])

    def loss(logits: np.ndarray) -> float:
        difference = logits[left] - logits[right]
        return float((share * np.logaddexp(0, -difference) + (1 - share) * np.logaddexp(0, difference)).sum() + 1e-9 * (logits**2).sum())

    strengths = np.exp(minimize(loss, np.zeros(len(models)), method="BFGS", options={"gtol": 1e-10}).x)
    return [float(strength) for strength in strengths / strengths.sum()]


if __name__ == "__main__":
    main()
