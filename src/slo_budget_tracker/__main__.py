"""`python -m slo_budget_tracker`: the command, and signals while it is still being loaded."""

from __future__ import annotations

try:
    import gc
    import os
    import signal
    import sys
except KeyboardInterrupt:  # the first moments, before there is a handler
    raise SystemExit(130) from None


def main() -> None:
    """Load the command and run it; whoever interrupts the loading gets a quick end and no traceback (T7)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: os._exit(128 + caught))
    if "health" in sys.argv[1:2] and not {"-h", "--help"} & set(sys.argv):
        from slo_budget_tracker.health import main as health  # noqa: PLC0415 - a fifth of the time of the rest

        raise SystemExit(health(sys.argv[2:]))
    gc.disable()  # what is loaded stays: looking through it again and again took an eighth of the time
    from slo_budget_tracker.cli import main as command  # noqa: PLC0415 - loading takes a second or two

    gc.freeze()
    gc.enable()

    if "run" not in sys.argv[1:2]:  # the daemon takes over the signals itself, without a moment between
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    command()


if __name__ == "__main__":
    main()
