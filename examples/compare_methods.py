# %% [markdown]
"""
# Compare two methods honestly

Is H2Q better than ITQ on handwritten digits? Ten seeds draw ten splits; both methods get the same split, as many
settings to choose from, and choose by validation images that are neither trained on nor searched for. mAP is the mean
over all orders of ties. Differences are taken split by split, and where chance may explain one, the script says so.
`out/compare_methods.png` shows the means and the differences with their intervals.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fasthash as fh

# %%
BITS, SEEDS, HELD_OUT = [8, 16, 24], range(10), 300
SETTINGS = {
    "ITQ": [{"n_iterations": 10}, {"n_iterations": 50}],
    "H2Q": [{"loss": "l2"}, {"loss": "l1"}],
}
images, labels = load_digits(return_X_y=True)


def split(seed):
    """Images to train on and to search, images that validate, images that ask, each with their labels."""
    x, queries, y, query_labels = train_test_split(images, labels, test_size=HELD_OUT, random_state=seed)
    x, validation, y, validation_labels = train_test_split(x, y, test_size=HELD_OUT, random_state=seed)
    return (x, y), (validation, validation_labels), (queries, query_labels)


def mean_average_precision(hasher, asking, database):
    (queries, query_labels), (x, y) = asking, database
    return fh.evaluate.mean_average_precision(hasher.encode(queries), query_labels, hasher.encode(x), y)


def measured(name, bits, seed):
    """The mAP of a method with the settings that are best for the validation images."""
    train, validation, queries = split(seed)
    fitted = [getattr(fh.hashers, name)(bits, random_state=seed, **each).fit(train[0]) for each in SETTINGS[name]]
    best = max(fitted, key=lambda hasher: mean_average_precision(hasher, validation, train))
    return mean_average_precision(best, queries, train)


found = {name: np.array([[measured(name, bits, seed) for seed in SEEDS] for bits in BITS]) for name in SETTINGS}

# %% [markdown]
# The paired t-test, as an interval of the difference. Splits share images, so differences spread less than on new
# images; the variance is corrected for that (Nadeau and Bengio, 2003). Three lengths are three chances to be lucky:
# each interval is wide enough for all to hold at once in 95 of 100 cases (Bonferroni).

# %%
difference = found["H2Q"] - found["ITQ"]
n = len(SEEDS)
variance = difference.var(1, ddof=1) * (1 / n + HELD_OUT / (len(images) - 2 * HELD_OUT))
half = t.ppf(1 - 0.05 / len(BITS) / 2, n - 1) * np.sqrt(variance)
print("bits    ITQ    H2Q    H2Q - ITQ, and its interval")
for bits, itq, h2q, middle, width in zip(BITS, *(x.mean(1) for x in (*found.values(), difference)), half, strict=True):
    verdict = "significant" if abs(middle) > width else "not significant"
    print(f"{bits:4}  {itq:.3f}  {h2q:.3f}    {middle:+.3f}  [{middle - width:+.3f}, {middle + width:+.3f}]  {verdict}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
places = np.arange(len(BITS))
for shift, (name, values) in zip([-0.08, 0.08], found.items(), strict=True):
    left.errorbar(places + shift, values.mean(1), values.std(1, ddof=1), fmt="o", capsize=4, label=name)
left.set(title="mAP, and its standard deviation over splits")
left.legend(loc="lower right")
right.plot(places - 0.08, difference, ".", color="grey")
right.errorbar(places + 0.08, difference.mean(1), half, fmt="o", capsize=4, color="C3")
right.axhline(0, color="black", linewidth=1)
right.set(title="H2Q - ITQ: splits, mean and its interval")
for axes in (left, right):
    axes.set(xlabel="bits", xticks=places, xticklabels=BITS, xlim=(-0.5, len(BITS) - 0.5))
Path("out").mkdir(exist_ok=True)
figure.savefig("out/compare_methods.png", dpi=120)
