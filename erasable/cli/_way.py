"""What --unlearner names: an unlearner with settings, the file of a tuning, or "auto"."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from erasable.cli._fields import build, named, pairs
from erasable.errors import SettingsError

AUTO, ENDING = "auto", ".json"
NAMES = (
    "an unlearner of the catalog, package.module:Class, NAME.json that 'erasable tune' wrote, or auto, which chooses "
    "and says why"
)


class Way(NamedTuple):
    """name       what repeats a command
    unlearner  None for "auto", until `chosen`
    why        of a choice, in a sentence
    """

    name: str
    unlearner: Any
    why: str = ""

    @classmethod
    def of(cls, text: str, settings: list[str] | None = None) -> "Way":
        """`settings` are those of --set, where they are the unlearner's; without them `text` may have some.

        Raises UnknownName, SettingsError, and what reading a tuning raises.
        """
        if text.endswith(ENDING) or text == AUTO:
            if settings:
                raise SettingsError(f"--set {settings[0]} for '{text}'", expected="no settings beside those it brings",
                                    do="leave it out, or name an unlearner")  # fmt: skip
            if text == AUTO:
                return cls(text, None)
            from erasable.tuned import Tuned

            return cls(text, Tuned.read(text).unlearner())
        if settings is None:
            return cls(text, named("unlearners", text))
        from erasable import catalog

        return cls(text, build(catalog.get("unlearners", text), pairs(settings), text))

    def chosen(self, ids: Iterable[str], data: Any, task: Any) -> "Way":
        """For this request; only "auto" has to choose. `data`: what the model was trained on and still knows."""
        if self.unlearner is not None:
            return self
        from erasable.choice import choose

        choice = choose(ids, data, task)
        return Way(choice.name, choice.unlearner, choice.why)

    def refuse(self, ids: Iterable[str]) -> None:
        """Raises MismatchError for samples by which the settings were tuned."""
        from erasable.request import Request
        from erasable.unlearner import Tried

        if isinstance(self.unlearner, Tried):
            self.unlearner.refuse(Request("asked", ids))

    @property
    def plain(self) -> Any:
        """The unlearner without what is known of its tuning."""
        from erasable.unlearner import Tried

        return self.unlearner.plain if isinstance(self.unlearner, Tried) else self.unlearner
