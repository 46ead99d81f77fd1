"""How long does MLPClassifier.fit take? Ours beside scikit-learn's own, on the digits.

    python benchmarks/estimators.py [--epochs 10] [--out benchmarks/results/estimators.json]

Both have the same network, batches, optimizer and number of epochs, and no penalty on the weights.
They take turns, and the median ratio of neighbouring runs is reported (`course_lib.timing`).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from record import set_threads, write

SETTINGS = [((32,), 32), ((128,), 64), ((256, 256), 128)]


def main() -> None:
    """Measure, print a table, and write the numbers down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10, help="passes over the digits per run")
    parser.add_argument("--repeats", type=int, default=7, help="pairs of runs")
    parser.add_argument("--out", type=Path, help="where to write the numbers as JSON")
    args = parser.parse_args()
    set_threads(1)
    import numpy as np
    import sklearn
    from sklearn.neural_network import MLPClassifier as Theirs

    from course_lib import MLPClassifier, data
    from course_lib.timing import compare

    # That it stops after so many epochs is what is asked for here.
    warnings.filterwarnings("ignore", message=".*Maximum iterations")
    rows = []
    for dtype in (np.float64, np.float32):
        x, y, x_test, y_test = data.load_digits(dtype=dtype)
        for hidden, batch in SETTINGS:
            common = {"hidden_layer_sizes": hidden, "batch_size": batch, "random_state": 0}
            ours = MLPClassifier(epochs=args.epochs, **common)
            theirs = Theirs(
                max_iter=args.epochs, n_iter_no_change=args.epochs, tol=0, alpha=0, **common
            )
            times = compare(
                "scikit-learn", lambda m=theirs, x=x, y=y: m.fit(x, y),
                "course_lib", lambda m=ours, x=x, y=y: m.fit(x, y), repeats=args.repeats,
            )  # fmt: skip
            rows.append(
                {
                    "hidden": hidden, "batch": batch, "dtype": np.dtype(dtype).name,
                    "ratio": times.ratio,
                    "seconds": {
                        "scikit-learn": sorted(times.seconds_a),
                        "course_lib": sorted(times.seconds_b),
                    },
                    "accuracy": {
                        "scikit-learn": theirs.score(x_test, y_test),
                        "course_lib": ours.score(x_test, y_test),
                    },
                }
            )  # fmt: skip
            print(
                f"{hidden!s:12} batch {batch:4d} {rows[-1]['dtype']}: scikit-learn takes "
                f"{times.ratio:.2f} times as long; accuracy {theirs.score(x_test, y_test):.3f} "
                f"(scikit-learn), {ours.score(x_test, y_test):.3f} (course_lib)"
            )
    write(
        args.out,
        {"NumPy": np.__version__, "scikit-learn": sklearn.__version__},
        threads=1,
        epochs=args.epochs,
        rows=rows,
    )


if __name__ == "__main__":
    main()
