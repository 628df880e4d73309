"""Numbers and times as a reader wants them: few digits, a unit, no more precision than there is."""

import math

NOTHING = "\u2013"  # an en dash: there is no number


def told(value: float, unit: str) -> str:
    """A value with its unit where that is one sign long: "98.1 %", "0.053", "41"."""
    if unit == "%":
        return f"{value:.1f} %"
    if unit == "points":
        return f"{value:.1f}"
    if unit == "nats":
        return f"{value:.3f}" if value < 10 else f"{value:.1f}"
    if unit == "steps":
        return f"{value:.0f}"
    if unit == "s":
        return duration(value)
    return f"{value:.2f}"


def span(low: float, high: float, unit: str) -> str:
    """A range: "92.0 to 98.1 %"."""
    if told(low, unit) == told(high, unit):
        return told(low, unit)
    return f"{told(low, unit).removesuffix(' %')} to {told(high, unit)}"


def duration(seconds: float) -> str:
    """From microseconds to hours, with two or three digits."""
    if seconds <= 0:
        return "none"
    if seconds < 1e-3:
        return f"{_digits(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{_digits(seconds * 1e3)} ms"
    if seconds < 120:
        return f"{_digits(seconds)} s"
    return f"{_digits(seconds / 60)} min" if seconds < 7200 else f"{_digits(seconds / 3600)} h"


def times(ratio: float) -> str:
    """A ratio of two times: "3.2\u00d7", "210\u00d7", "1,300\u00d7"."""
    return (f"{ratio:.1f}" if ratio < 10 else f"{float(f'{ratio:.2g}'):,.0f}") + "\u00d7"


def _digits(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def nice_ticks(low: float, high: float, *, about: int = 4) -> list[float]:
    """Round numbers in [low, high], steps of 1, 2, 2.5 or 5 times a power of ten."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((each * power for each in (1, 2, 2.5, 5, 10)), key=lambda each: abs(each - raw))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]
