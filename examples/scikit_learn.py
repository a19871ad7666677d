"""Choose a hasher's settings by what its codes retrieve, in a pipeline of scikit-learn that ends in packed codes."""

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import fasthash as fh


def retrieval_score(pipeline, x, y):  # the mAP of each item among the others of its fold
    codes = pipeline.transform(x)
    return fh.evaluate.mean_average_precision(codes, y, codes, y, leave_one_out=True)


images, labels = load_digits(return_X_y=True)
database, queries, database_labels, query_labels = train_test_split(images, labels, test_size=300, random_state=0)
pipeline = Pipeline([("scale", StandardScaler()), ("hash", fh.hashers.ITQ(16, packed_output=True))])
settings = {"scale__with_std": [True, False], "hash__n_bits": [16, 32]}
search = GridSearchCV(pipeline, settings, scoring=retrieval_score, cv=3).fit(database, database_labels)
print(f"best: {search.best_params_}, mAP {search.best_score_:.3f}")

index = fh.FlatIndex(search.best_params_["hash__n_bits"])
index.add(search.transform(database))
hits = index.search(search.transform(queries), k=10)
share = (database_labels[hits.ids] == query_labels[:, None]).mean()
print(f"of the ten nearest, {share:.0%} are of the query's class")
