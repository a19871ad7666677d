"""The comparison of "Deep Hashing via Householder Quantization" on one data set, with a small network.

`python -m benchmarks.papers.h2q cifar10` (from the repository's root) trains each loss, on the frozen features of a
small network as `benchmarks.papers.supervised`,

- without quantisation, its outputs as they are ("none") and rotated by ITQ and by H2Q with each of its objectives;
- with its own term and a tanh before it ("lambda"); the weight is the paper's or chosen among the paper's;
- with HSWD in its place, of weight 0.1 and without tanh;

HyP2 by each beta of the paper, and HashNet and ADSH as they are: the paper's tables 1, 2 and A3 to A7, and its figures
2 and 3. Batches, weight decay and other arguments of the losses are those of its appendix A.3. Every epoch 100 of 1,000
validation items are searched for among the others, in five random splits; 20 epochs without a better mean end a
training, and weights and betas are chosen by the best. mAP counts the first 5,000, ties by the cosine of the outputs.
"""

from __future__ import annotations

import itertools

import click

from benchmarks.papers.features import sizes
from benchmarks.papers.frozen import ROTATIONS, Frozen, rotated
from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.tables import Mean, against_first, chosen, means, seeds_used, table, write_markdown, written_by
from fasthash.recipes.protocols import PROTOCOLS
from fasthash.recipes.settings import AUGMENTATIONS, SupervisedSettings

RULE = {"ties": "cosine", "at": 5000}
VALIDATION = {"validate_every": 1, "validation_splits": 5, "validation_share": 0.1, "patience": 20}
OF_LOSSES = {
    "cel": {"batch_size": 128},
    "dch": {"batch_size": 256, "loss_arguments": {"gamma": 10.0}},
    "dhn": {"batch_size": 64},
    "dpsh": {"batch_size": 128, "loss_arguments": {"scale": 1.0}},
    "wglhh": {"batch_size": 64, "weight_decay": 1e-4, "loss_arguments": {"alpha": 0.1}},
    "hyp2": {"batch_size": 100},
    "hashnet": {"batch_size": 256},
    "adsh": {"batch_size": 64, "loss_arguments": {"gamma": 200.0, "n_inner": 3}},
}
LAMBDAS = {
    "cel": (0.01,),
    "dch": (1e-5, 1e-3, 1e-1),
    "dhn": (1e-5, 1e-3, 1e-1),
    "dpsh": (0.01, 0.1, 1.0),
    "wglhh": (0.001,),
    "hyp2": (0.01,),
}
OBJECTIVES = [name for name in ROTATIONS if name.startswith("H2Q")]
VARIANTS = ("none", "lambda", "HSWD", *ROTATIONS)
BETAS = (0.5, 0.75, 1.0, 1.25)
AS_THEY_ARE = ("hashnet", "adsh")
MARGINS = {4: {64: -1 / 32}, 7: {16: 1 / 4, 32: 1 / 8, 48: 1 / 12}}  # else 0; see `fasthash.losses.CEL`


def settings_of(loss, n_bits, n_classes, **changes):
    """What the paper trains a loss with; its margin is by the bits that tell the classes apart."""
    own = dict(OF_LOSSES[loss])
    arguments = dict(own.pop("loss_arguments", {}))
    if loss in ("cel", "hyp2"):
        arguments["margin"] = MARGINS.get((n_classes - 1).bit_length(), {}).get(n_bits, 0.0)
    arguments |= changes.pop("loss_arguments", {})
    return SupervisedSettings(
        method=loss, bits=n_bits, loss_arguments=arguments, **{"weight_decay": 5e-4, **own, **VALIDATION, **changes}
    )


def cells_of(frozen, n_classes, bits, seeds, common):
    """Every loss by every strategy that trains it, with what is chosen among."""
    yield frozen.cell
    for n_bits, seed, loss in itertools.product(bits, range(seeds), OF_LOSSES):
        terms = {"as it is": [{}]}
        if loss not in AS_THEY_ARE:
            terms = {
                "none": [{"quantization": "none"}],
                "lambda": [{"quantization_weight": weight, "activation": "tanh"} for weight in LAMBDAS[loss]],
                "HSWD": [{"quantization": "hswd"}],
            }
        for variant, tried in terms.items():
            for term, beta in itertools.product(tried, BETAS if loss == "hyp2" else [None]):
                key = {"loss": loss, "bits": n_bits, "variant": variant, "seed": seed}
                changes = {**common, **term, "seed": seed, "map_at": RULE["at"], "ties": RULE["ties"]}
                if "quantization_weight" in term:
                    key["weight"] = term["quantization_weight"]
                if beta is not None:
                    key["beta"] = beta
                    changes["loss_arguments"] = {"beta": beta}
                yield Cell(key, settings_of(loss, n_bits, n_classes, **changes), frozen.cell.given)


def benchmarks_of(rows):
    """The rows of the paper's table 1: every loss as it was published, and HyP2 rotated by H2Q."""
    for row in rows:
        published = "none" if row["loss"] == "hyp2" else "as it is" if row["loss"] in AS_THEY_ARE else "lambda"
        if row["variant"] == published:
            yield row
        elif (row["loss"], row["variant"]) == ("hyp2", "H2Q l2"):
            yield {**row, "loss": "hyp2 + H2Q"}


def report(rows, name, facts):
    compared = [row for variant in VARIANTS for row in rows if row["variant"] == variant]
    by_loss = sorted(compared, key=lambda row: (list(OF_LOSSES).index(row["loss"]), row["bits"]))
    lengths = dict.fromkeys(row["bits"] for row in rows)
    columns = {
        variant: Mean("mAP", where={"variant": variant}, against={"variant": "none"})
        for variant in dict.fromkeys(row["variant"] for row in compared)
    }
    return [
        f"# Householder quantisation: {name}",
        "",
        f"{written_by(facts)} Protocol {facts['protocol']}, split seed 0:",
        f"{facts['train']} items to train, {facts['query']} queries, {facts['database']} in the database.",
        f"The network cnn, trained for {facts['network_epochs']} epochs to classify the training items "
        f"({facts['accuracy']:.3f} of the queries right), is frozen; a hidden layer of 512",
        f"and the last layer learn from its features, at most {facts['epochs']} epochs, Adam "
        f"{facts['learning_rate']:g}.",
        "",
        f"Cells: mAP of the first 5,000, ties by the cosine of the outputs, ± deviation, {seeds_used(rows)}. lambda is "
        "the loss's own term after",
        "tanh; its weight, and HyP2's beta, are those with the highest mAP of the validation items, the mean over the "
        "seeds; of equals the smallest.",
        "▲ and ▼: higher or lower than without quantisation (none) by a paired t-test over the seeds, p < 0.05.",
        "",
        "## Losses as they were published, and HyP2 with H2Q (the paper's tables 1, A3, A4)",
        "",
        *table(
            benchmarks_of(rows),
            {"loss": "loss"},
            {f"{n_bits} bits": Mean("mAP", where={"bits": n_bits}) for n_bits in lengths},
        ),
        "",
        "## Ways to quantise (tables 2, A5 to A7)",
        "",
        *table(by_loss, {"loss": "loss", "bits": "bits"}, columns),
        *against_first(compared, "mAP", "variant", "loss", "bits"),
    ]


def draw(grid, rows, name):
    """Write figures 2 and 3: what each way adds to the mAP of none, at the shortest length."""
    from benchmarks.papers import pictures  # a machine that only trains needs no matplotlib

    short = min(row["bits"] for row in rows)
    of_short = [row for row in rows if row["bits"] == short and row["variant"] in VARIANTS]
    found = means(of_short, "mAP", "loss", "variant")
    gains = {(loss, way): 100 * (value - found[loss, "none"]) for (loss, way), value in found.items()}
    panels = {"ways to quantise": ("ITQ", "lambda", "HSWD", "H2Q l2"), "objectives of H2Q": OBJECTIVES}
    figure = pictures.gains(gains, panels, f"{name}, {short} bits: mAP less that without quantisation, in points")
    figure.savefig(grid.csv.with_suffix(".png"), dpi=80)


@command(bits=(16, 32, 48, 64), seeds=4, epochs=100)
@click.argument("dataset")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="per-class-v1", show_default=True)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Of Adam; the paper's are of AlexNet.",
)
@click.option("--network-epochs", type=click.IntRange(1), default=60, show_default=True, help="Of the whole network.")
@click.option("--augmentation", type=click.Choice(AUGMENTATIONS), default="flip-crop", show_default=True)
def main(dataset, protocol, bits, seeds, epochs, learning_rate, network_epochs, augmentation, options):
    """Train every loss by every way to quantise, write the tables of one data set and draw the figures."""
    frozen = Frozen(options, dataset, protocol, network_epochs, augmentation)
    common = {"dataset": dataset, "protocol": protocol, "network": "mlp", "epochs": epochs, "schedule": "constant"}
    common["learning_rate"] = learning_rate
    n_classes = 1 if options.tables_only else frozen.images.n_classes
    grid = Grid(f"h2q-{name_of(dataset)}", list(cells_of(frozen, n_classes, bits, seeds, common)), options)

    def work(cell):
        if cell is frozen.cell:
            yield from frozen.train(grid)
            return
        data, _ = frozen.features(grid)
        run = grid.train(cell, dataset=data, parts=frozen.parts)
        if cell.key["variant"] == "none":
            validated = {"validation_mAP": run.results["validation_mAP"]}
            for row in rotated(data, frozen.parts, run.network, cell.settings, **RULE):
                yield {**cell.key, **validated, **row}
        else:
            yield {**cell.key, **run.results}

    def facts():
        measured = {**sizes(frozen.parts), "accuracy": frozen.features(grid)[1]}
        learning = {"epochs": epochs, "learning_rate": learning_rate, "network_epochs": network_epochs}
        return {"protocol": protocol, **learning, **measured}

    rows = grid.run(work, facts)
    if rows is not None:
        best = chosen(rows, "validation_mAP", ["weight", "beta"], "loss", "bits", "variant")
        write_markdown(grid.csv.with_suffix(".md"), report(best, name_of(dataset), grid.facts()))
        if not options.tables_only:
            draw(grid, best, name_of(dataset))


if __name__ == "__main__":
    main()
