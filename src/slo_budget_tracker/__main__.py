"""`python -m slo_budget_tracker` is the command `slo-budget-tracker`."""

from slo_budget_tracker.cli import main

if __name__ == "__main__":
    main()
