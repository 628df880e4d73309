"""Ways to make a trained network forget a class, and the settings of each that are tried."""

from typing import Any

from erasable.trials import Range, trials_of
from erasable.unlearners.boundary_expand import BoundaryExpand
from erasable.unlearners.boundary_shrink import BoundaryShrink
from erasable.unlearners.ct import CT
from erasable.unlearners.finetune import FineTune
from erasable.unlearners.l1_sparse import L1Sparse
from erasable.unlearners.nothing import Nothing
from erasable.unlearners.random_labels import RandomLabels
from erasable.unlearners.salun import SalUn
from erasable.unlearners.scrub import SCRUB
from erasable.unlearners.ssd import SSD
from erasable.unlearners.trw import TRW

TRIALS, EPOCHS = 8, 3
RATE: Range = (1e-3, 0.3)
PLAIN: dict[str, Any] = {"epochs": EPOCHS, "batch": 64}
STARTS: dict[str, Any] = {
    "nothing": Nothing(),
    "ct": CT(**PLAIN),
    "finetune": FineTune(**PLAIN),
    "random-labels": RandomLabels(**PLAIN),
    "salun": SalUn(**PLAIN),
    "scrub": SCRUB(**PLAIN),
    "boundary-shrink": BoundaryShrink(),
    "boundary-expand": BoundaryExpand(),
    "l1-sparse": L1Sparse(**PLAIN),
    "trw": TRW(**PLAIN),
    "redistribution": TRW(beta=0.0, **PLAIN),
    "trw-mild": TRW(temperature=10.0, **PLAIN),
    "ssd": SSD(),
    "lfssd": SSD(importance="outputs"),
    "assd": SSD(alpha=None),
}
SHORT: Range = list(range(1, EPOCHS + 1))
SPACES: dict[str, dict[str, Range]] = {
    "ct": {"lr": RATE, "epochs": SHORT},
    "finetune": {"lr": RATE, "epochs": SHORT},
    "random-labels": {"lr": RATE, "epochs": SHORT, "mixed": [False, True]},
    "salun": {"lr": RATE, "epochs": SHORT, "mixed": [False, True], "share": (0.1, 1.0)},
    "scrub": {"lr": (1e-4, 0.1), "alpha": (1e-4, 1.0), "temperature": (1.0, 8.0)},
    "boundary-shrink": {"lr": (1e-4, 0.1), "epochs": (2, 20), "reach": (0.02, 0.5)},
    "boundary-expand": {"lr": (1e-4, 0.1), "epochs": (2, 20)},
    "l1-sparse": {"lr": RATE, "epochs": SHORT, "penalty": (1e-6, 1e-2)},
    "trw": {"lr": RATE, "epochs": SHORT, "weight": (0.1, 10.0), "temperature": (0.1, 30.0)},
    "redistribution": {"lr": RATE, "epochs": SHORT, "weight": (0.1, 10.0)},
    "trw-mild": {"lr": RATE, "epochs": SHORT, "weight": (0.1, 10.0)},
    "ssd": {"alpha": (1.0, 10.0), "strength": (0.03, 2.0)},  # above 10 = all / erased nothing is selected
    "lfssd": {"alpha": (1.0, 10.0), "strength": (0.03, 2.0)},
}


def trials(name: str) -> list[Any]:
    return trials_of(STARTS[name], TRIALS, space=SPACES[name]) if name in SPACES else [STARTS[name]]
