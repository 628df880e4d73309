"""What an audit found, as data: JSON is the truth; HTML and Markdown are views of it.

Report   provenance, and one Section per request
Section  a verdict in words, and one Row per way of forgetting
Row      the guarantee, the status, the findings with the oracles' noise beside them, and what the figures draw
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from erasable.errors import InvalidData, NewerVersion
from erasable.evidence import Finding
from erasable.receipt import Level, Receipt

SCHEMA = 2  # 1 had no suites, and none of the optional parts of a row
Role = Literal["method", "untouched", "retrain"]
Status = Literal["no trace", "remembered", "stands out", "cannot tell"]
Suite = Literal["quick", "standard", "full"]
Share = Annotated[float, Field(ge=0, le=1)]

STATUSES: dict[Status, str] = {
    "no trace": "Erased within what this audit can see",
    "remembered": "Leaks: still remembered",
    "stands out": "Differs: stands out",
    "cannot tell": "Not decidable with this budget",
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _one_each(parts: _Model, along: Sequence[float], *names: str, rising: str, bins: bool = False) -> None:
    """Every named part has a value per entry of `along`, or per bin between two of them. Raises ValueError."""
    wanted = len(along) - bins
    if wanted < 1:
        raise ValueError(f"{len(along)} {rising}, which is too few")
    for name in names:
        values = getattr(parts, name)
        if values is not None and len(values) != wanted:
            raise ValueError(f"{name} has {len(values)} values where {rising} asks for {wanted}")
    if any(later < earlier for earlier, later in pairwise(along)):
        raise ValueError(f"{rising} falls")


class Histogram(_Model):
    """Shares of samples per bin of the log-odds of the true class; both ends hold what lies beyond them."""

    edges: tuple[float, ...]
    after: tuple[Share, ...]
    oracles: tuple[Share, ...]
    fresh: tuple[Share, ...]

    @model_validator(mode="after")
    def _a_share_per_bin(self) -> Self:
        _one_each(self, self.edges, "after", "oracles", "fresh", rising="edges", bins=True)
        return self


class Guess(_Model):
    """What one model answered for one erased sample, and what its oracles answer most often."""

    subject: str
    before: str | None
    after: str
    confidence: Share
    oracle: str
    agree: int  # oracles that answer so
    oracles: int


class Sample(_Model):
    """One erased sample. `picture` is a PNG in base64."""

    id: str
    label: str
    picture: str | None = Field(default=None, pattern=r"^[A-Za-z0-9+/=]+$")
    guesses: tuple[Guess, ...]


class Roc(_Model):
    """An attack's true-positive rate against its false-positive rate, with 95 % bounds; shares, in rising order."""

    attack: str
    fpr: tuple[Share, ...]
    tpr: tuple[Share, ...]
    low: tuple[Share, ...]
    high: tuple[Share, ...]

    @model_validator(mode="after")
    def _a_rate_per_point(self) -> Self:
        _one_each(self, self.fpr, "tpr", "low", "high", rising="fpr")
        return self


class Exposed(_Model):
    """One of the samples on which an attack is surest. `picture` is a PNG in base64."""

    id: str
    owner: str | None
    score: float
    picture: str | None = Field(default=None, pattern=r"^[A-Za-z0-9+/=]+$")


class Leakage(_Model):
    """How surely an attack takes each erased sample for a member: shares of samples per bin, and the worst samples.

    `oracles` are the same scores of models that never saw the samples, each judged by the others.
    """

    attack: str
    edges: tuple[float, ...]
    after: tuple[Share, ...]
    oracles: tuple[Share, ...]
    worst: tuple[Exposed, ...] = ()

    @model_validator(mode="after")
    def _a_share_per_bin(self) -> Self:
        _one_each(self, self.edges, "after", "oracles", rising="edges", bins=True)
        return self


class Relearning(_Model):
    """Accuracy on the erased samples, in %, while a copy learns from `learns_from`: one value per entry of `steps`.

    `oracle_low` and `oracle_high` are the range over the oracles; `untouched` is the model before the erasure, `random`
    one that was never trained.
    """

    learns_from: str
    steps: tuple[int, ...]
    after: tuple[float, ...]
    oracle_mean: tuple[float, ...]
    oracle_low: tuple[float, ...]
    oracle_high: tuple[float, ...]
    untouched: tuple[float, ...] | None = None
    random: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _a_value_per_step(self) -> Self:
        curves = ("after", "oracle_mean", "oracle_low", "oracle_high", "untouched", "random")
        _one_each(self, self.steps, *curves, rising="steps")
        return self


class Stratum(_Model):
    """A part of the erased samples judged by itself, such as those that are memorised most."""

    name: str
    samples: int
    findings: tuple[Finding, ...]


class Control(_Model):
    """Does the test itself work? `rang` of `draws` times, where it should `ring` or stay silent."""

    name: str
    attack: str
    should_ring: bool
    rang: int
    draws: int
    passed: bool
    note: str = ""


class Row(_Model):
    """One way of forgetting, judged against models of its own kind that never saw the samples."""

    name: str
    role: Role
    level: Level | None
    why: str
    status: Status
    verdict: str
    oracles: int
    oracle_seeds: tuple[int, ...]
    judged: tuple[Finding, ...]  # what the status rests on; their bands hold together
    shown: tuple[Finding, ...]  # accuracy that was kept, average gap, cost
    before: tuple[Finding, ...]  # the judged ones before the erasure
    histogram: Histogram
    note: str
    receipt: Receipt | None
    roc: tuple[Roc, ...] = ()
    leakage: Leakage | None = None
    relearning: tuple[Relearning, ...] = ()
    strata: tuple[Stratum, ...] = ()
    power: str = ""  # how small a leak the numbers of this row could have shown

    def finding(self, metric: str) -> Finding | None:
        """By name; None where it was not measured."""
        return next((each for each in (*self.judged, *self.shown) if each.metric == metric), None)

    def earlier(self, metric: str) -> Finding | None:
        """The same finding before the erasure."""
        return next((each for each in self.before if each.metric == metric), None)


class Section(_Model):
    """One request and all ways of carrying it out."""

    title: str
    case: str
    verdict: str
    cautions: tuple[str, ...]
    erased: int
    retained: int
    classes_gone: tuple[str, ...]
    rows: tuple[Row, ...]
    samples: tuple[Sample, ...]
    samples_order: str
    data: str
    digests: dict[str, str]
    seed: int
    seconds: float
    controls: tuple[Control, ...] = ()

    def facts(self) -> str:
        """What was erased, in words."""
        text = f"{self.erased:,} samples of {self.data} erased, {self.retained:,} kept. Case {self.case}."
        if self.classes_gone:
            text += (f" Nothing of class {', '.join(self.classes_gone)} remains in training, so test accuracy is over "
                     "the other classes.")  # fmt: skip
        return text


class Report(_Model):
    """Everything that was judged together. Numbers of different `erasable_version`s are not to be tabled together."""

    schema_version: int = SCHEMA
    title: str
    command: str
    suite: Suite = "quick"
    created: str
    show_samples: bool
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]
    limits: tuple[str, ...]
    versions: dict[str, str]
    platform: str
    erasable_version: str

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Report":
        """Raises NewerVersion for a report of a later schema, InvalidData for anything else that is no report."""
        try:
            version = _Version.model_validate_json(text).schema_version
            if version > SCHEMA:
                raise NewerVersion(f"a report of schema {version}", expected=f"schema {SCHEMA} or older",
                                   do="update Erasable")  # fmt: skip
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise InvalidData(f"no report: {first['msg']} at {where}", expected="JSON that an audit wrote",
                              do="audit again, or look at that place") from None  # fmt: skip

    def to_markdown(self) -> str:
        from erasable._plumbing.report_markdown import markdown

        return markdown(self)

    def to_html(self) -> str:
        """One file: styles, figures and pictures inside, nothing is loaded and no script runs."""
        from erasable._plumbing.report_page import page

        return page(self)


class _Version(BaseModel):
    schema_version: int
