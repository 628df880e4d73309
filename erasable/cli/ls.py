"""`erasable ls`: what there is."""

from typing import Annotated

import typer

from erasable import catalog
from erasable.cli._options import AsJson, result
from erasable.errors import UnknownName, nearest_names


def ls(
    family: Annotated[
        str | None, typer.Argument(metavar="[FAMILY]", help="Only this family, such as methods or unlearners.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List every name of the catalog by family."""
    found = catalog.families()
    if family is not None and family not in found:
        raise UnknownName(f"family '{family}'", expected="a family of the catalog", do=nearest_names(family, found))
    shown = {name: each for name, each in found.items() if family in (None, name)}
    width = max(len(name) for each in shown.values() for name in each)
    lines = [
        "\n".join([kind, *(f"  {name:<{width}}  {told}" for name, told in each.items())])
        for kind, each in shown.items()
    ]
    result("\n\n".join(lines), shown, as_json)
