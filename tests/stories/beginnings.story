# The ledger's birth: what was before sends nothing, what is true at the first live tick starts then.

story     an alert that is true at the first live tick starts then
pair      page 1h 5m 14.4
bad       0x60 50x30 50x2 0x6
live      1h30m
tells     1h30m slo_burn_started  page:1h
tells     1h37m slo_recovered     page:1h
at        1h10m page:1h  firing since 1h10m
at        1h30m page:1h  firing since 1h30m

story     failures and outages before the first live tick send nothing
pair      page 1h 5m 14.4
bad       0x30 50x10 _x10 0x50
live      1h10m
at        1h10m page:1h  quiet since 1h10m

story     a budget that is already spent is told at the first live tick
target    99%
window    1h
bad       5x60 0
live      1h
tells     1h    slo_budget_exhausted  budget

story     data that are missing at birth are lost five minutes later
bad       _x10
live      6m
tells     10m   slo_data_lost  data

story     an alert waits for its patience from the first live tick on
pair      page 10m 5m 10 for 3m
bad       50x20
live      15m
tells     18m   slo_burn_started  page:10m
at        14m   page:10m  pending since 14m
at        15m   page:10m  pending since 15m
