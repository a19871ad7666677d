# %% [markdown]
"""
# Binary embeddings for retrieval

From sentences to answers, with recall beside floats at 1/32 of their memory: the docstrings of Python's libraries, by
TF-IDF and an SVD. As a script it takes embeddings of yours, `python examples/binary_embeddings.py FILE`: an `.npz` of
`embeddings` [n, d] and, where known, `sentences` [n], or another array that `fasthash.data.read_array` reads. With
sentence-transformers such a file is made by two lines:

    embeddings = SentenceTransformer("all-MiniLM-L6-v2").encode(sentences, normalize_embeddings=True)
    np.savez("sentences.npz", embeddings=embeddings, sentences=sentences)
"""

# %%
import ast
import re
import sys
import sysconfig
from pathlib import Path

import numpy as np
import scipy
import sklearn
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize

import fasthash as fh

K = 10
QUESTIONS = [
    "delete a folder and all files in it",
    "parse the arguments of a command line",
    "wait until a thread has ended",
    "solve a system of linear equations",
]


# %% [markdown]
# Real text, and its embeddings; or those of a file.


# %%
def documented(body):
    """The public functions and classes of a module, and the methods of these."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            yield from documented(node.body) if isinstance(node, ast.ClassDef) else ()


def docstrings():
    """The first paragraph of every docstring of the standard library, NumPy, SciPy and scikit-learn: real text."""
    folders = [Path(sysconfig.get_path("stdlib")), *(Path(x.__file__).parent for x in (np, scipy, sklearn))]
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if {"test", "tests", "site-packages", "lib2to3"} & set(path.relative_to(folder).parts):
                continue
            for node in documented(ast.parse(path.read_bytes()).body):
                text = re.sub(r"\s+", " ", (ast.get_docstring(node) or "").partition("\n\n")[0])
                if text.count(" ") > 3:
                    found.setdefault(text, f"{path.stem}.{node.name}: {text}")
    return list(found), list(found.values())


def own_embeddings():
    texts, names = docstrings()
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, stop_words="english"), TruncatedSVD(256, random_state=0))
    x, questions = model.fit_transform(texts), model.transform(QUESTIONS)
    return normalize(x).astype(np.float32), names, normalize(questions).astype(np.float32), QUESTIONS


def given_embeddings(path):
    """Those of a file, the last few of which ask."""
    of = ":embeddings" if path.endswith(".npz") else ""
    x = normalize(fh.data.read_array(path + of).astype(np.float32))
    named = path.endswith(".npz") and "sentences" in np.load(path).files
    sentences = list(fh.data.read_array(f"{path}:sentences")) if named else [f"row {i}" for i in range(len(x))]
    return x[:-4], sentences[:-4], x[-4:], sentences[-4:]


# %% [markdown]
# Codes find candidates. Queries as floats find more with the same codes, and vectors of the candidates put them in
# order; these may be small numbers on a disk.


# %%
def as_int8(x):
    """Vectors as sentence-transformers' `quantize_embeddings(x, "int8")` makes them, and the width of their steps."""
    starts = x.min(0)
    steps = (x.max(0) - starts) / 255
    steps = np.where(steps == 0, 1, steps)
    return (np.clip(np.floor((x - starts) / steps), 0, 255) - 128).astype(np.int8), steps


arguments = [] if "ipykernel" in sys.modules else sys.argv[1:]  # those of a notebook are its kernel's
x, sentences, questions, asked = given_embeddings(arguments[0]) if arguments else own_embeddings()
n, d = x.shape
held_out = np.random.default_rng(0).permutation(n)[: min(1000, n // 10)]
database, queries = np.delete(x, held_out, axis=0), x[held_out]
exact = np.argsort(-(queries @ database.T), axis=1, kind="stable")[:, :K]

hasher = fh.hashers.ITQ(n_bits=d, n_iterations=20).fit(database[:10_000])
index = fh.FlatIndex(n_bits=d)
index.add(hasher.encode(database))
codes, projections = hasher.encode(queries), hasher.transform(queries)
small, steps = as_int8(database)  # on a disk; of these only the candidates are read
searches = {
    "codes by codes (Hamming)": index.search(codes, K),
    "codes by floats (asymmetric)": index.search(projections, K),
    "the same, 100 reranked by int8": index.search(projections, K, rerank=small, rerank_queries=queries * steps),
    "the same, 100 reranked by float32": index.search(projections, K, rerank=database, rerank_queries=queries),
}
print(f"{len(database):,} sentences, {d} dimensions: {4 * d:,} bytes each as floats, {d // 8} as codes")
for name, (_, ids) in searches.items():
    recall = np.mean([len(set(found) & set(true)) / K for found, true in zip(ids, exact, strict=True)])
    print(f"recall@{K}  {recall:.3f}  {name}")

# %% [markdown]
# Questions in plain words, answered from all sentences.

# %%
index = fh.FlatIndex(n_bits=d)
index.add(hasher.encode(x))
hits = index.search(hasher.transform(questions), 3, rerank=x, rerank_queries=questions)
for question, ids in zip(asked, hits.ids, strict=True):
    print(f"\n{question}", *(f"  {sentences[i][:110]}" for i in ids), sep="\n")
