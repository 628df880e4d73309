"""The demo's two requests on the digits.

    python experiments/digits.py

The report is stored as it is (`results/digits.json`), without the pictures of the erased.
"""

import tempfile
from pathlib import Path

from store import RESULTS

from erasable import demo


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = demo.run(Path(folder) / "digits")
    report = done.report.model_copy(update={
        "command": "python experiments/digits.py",
        "show_samples": False,
        "sections": tuple(each.model_copy(update={"samples": ()}) for each in done.report.sections),
    })  # fmt: skip
    (RESULTS / "digits.json").write_text(report.to_json())
    print(done.words())


if __name__ == "__main__":
    main()
