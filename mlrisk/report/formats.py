"""Numbers as people read them: as many digits as the interval supports, and no more."""

import math
from numbers import Integral

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
_FIXED_EXPONENTS = range(-4, 6)  # powers of ten printed without an exponent
_MOST_DIGITS = 6  # significant digits beyond which a narrow interval adds nothing for a reader


def format_number(value: float | int | None, digits: int = 4) -> str:
    """``value`` to ``digits`` significant digits; integers whole, None as a dash.

    Args:
        value: a number in any unit.
        digits: significant digits of a number that is not an integer.

    Returns:
        For instance ``"0.9342"``, ``"1,000"``, ``"3.1e-7"``, ``"∞"`` or ``"–"``.
    """
    if value is None:
        return NONE
    if isinstance(value, Integral) or value == 0:
        return f"{int(value):,}".replace("-", MINUS)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    exponent = _exponent(value)
    return _write(value, exponent, decimals=digits - 1 - exponent)


def format_interval(value: float | int, low: float | int | None = None, high: float | int | None = None) -> str:
    """A value with its interval, to two significant digits of the interval's width.

    Args:
        value: the estimate.
        low: lower end of the interval, in the unit of ``value``; None where there is none.
        high: upper end.

    Returns:
        For instance ``"0.934 [0.921, 0.945]"``; the value alone where either end is missing or not finite.
    """
    value = float(value)
    if low is None or high is None or not all(map(math.isfinite, (value, low, high))):
        return format_number(value, digits=3)
    exponent = _exponent(max(abs(value), abs(low), abs(high)))
    width = high - low
    decimals = 1 - _exponent(width) if 0 < width < math.inf else 2 - exponent
    decimals = min(decimals, _MOST_DIGITS - 1 - exponent)
    middle, lower, upper = (_write(number, exponent, decimals) for number in (value, float(low), float(high)))
    return f"{middle} [{lower}, {upper}]"


def format_column(values: list[float | int | None], digits: int = 4) -> list[str]:
    """The numbers of one column, with a common number of decimals where their sizes are comparable.

    Args:
        values: the column; None where there is no value.
        digits: significant digits of the largest.

    Returns:
        One string a value, so that right-aligned decimal points fall under one another.
    """
    sizes = [_exponent(value) for value in values if value is not None and math.isfinite(value) and value != 0]
    common = bool(sizes) and max(sizes) - min(sizes) <= 2 and max(sizes) in _FIXED_EXPONENTS
    if not common or min(sizes) not in _FIXED_EXPONENTS:
        return [format_number(value, digits) for value in values]
    decimals = max(0, digits - 1 - max(sizes))
    plain = [value is not None and math.isfinite(value) for value in values]
    return [
        _write(value, 0, decimals) if is_plain and value is not None else format_number(value)
        for value, is_plain in zip(values, plain, strict=True)
    ]


def format_duration(seconds: float | int | None) -> str:
    """A time for people: ``"0.4 s"``, ``"48 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``, or a dash."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _write(value: float, exponent: int, decimals: int) -> str:
    if exponent in _FIXED_EXPONENTS:
        return f"{value:z,.{max(0, decimals)}f}".replace("-", MINUS)
    mantissa, _, power = f"{value:.{max(0, decimals + exponent)}e}".partition("e")
    return f"{mantissa}e{int(power)}".replace("-", MINUS)
