"""`claire panic`: hands its arguments to the stand-alone program."""

from collections.abc import Sequence

from claire.safety.panic import main


def panic(
    *,
    secrets: str,
    symbols: Sequence[str],
    symbols_from: str,
    rest_url: str,
    give_up_s: float,
    as_json: bool,
) -> int:
    """Cancel everything at the venue; return the exit code."""
    words = ["--give-up", str(give_up_s)]
    for name, value in (("--secrets", secrets), ("--symbols-from", symbols_from), ("--rest-url", rest_url)):
        words += [name, value] if value else []
    for symbol in symbols:
        words += ["--symbol", symbol]
    return main([*words, "--json"] if as_json else words)
