"""What an erasure costs: seconds of the call, and seconds of what had to be prepared before the request came."""

from erasable.evidence import Finding


def cost(seconds: float, *, subject: str, preparation: bool = False) -> Finding:
    """One measured time."""
    return Finding(metric="preparation" if preparation else "time", subject=subject, value=seconds, unit="s", n=1,
                   models=1, direction="lower")  # fmt: skip
