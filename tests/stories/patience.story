# `for` and `keep_firing_for`: how long is long enough (D23).

story     for waits as in Prometheus: true from the first tick on, for that long
pair      page 10m 5m 10 for 3m
bad       0x10 10x6
tells     14m  slo_burn_started  page:10m
at        10m  page:10m  quiet since 1m
at        11m  page:10m  pending since 11m
at        11m  why       page:10m pending until that lasts 3m
at        13m  page:10m  pending since 11m
at        14m  page:10m  firing since 14m

story     a false tick starts the waiting anew
# minutes 11 to 15 hold the 10 of minute 11; at 16m the five minutes are clean
pair      page 10m 5m 10 for 5m
bad       0x10 10 0x5 10x7
tells     22m  slo_burn_started  page:10m
at        15m  page:10m  pending since 11m
at        16m  page:10m  quiet since 16m
at        17m  page:10m  pending since 17m

story     an unknown tick pauses the waiting and does not count
pair      page 10m 5m 10 for 3m
bad       0x10 50x2 error x4 50x4
tells     18m  slo_burn_started  page:10m
at        12m  page:10m  pending since 11m
at        14m  page:10m  pending since 11m
at        14m  why       page:10m Prometheus or the query failed
at        17m  page:10m  pending since 11m
at        18m  page:10m  firing since 18m

story     keep firing outlives a pause in the failures
# over at 17m and 18m, burning again at 19m, over from 24m on
pair      page 10m 5m 10 keep 3m
bad       0x10 10x2 0x6 10 0x12
tells     11m  slo_burn_started  page:10m
tells     27m  slo_recovered     page:10m   5m burns 0, below 10
at        17m  page:10m  firing since 11m
at        17m  why       page:10m below 10; firing until that lasts 3m
at        19m  page:10m  firing since 11m
at        26m  page:10m  firing since 11m

story     an unknown tick pauses the end as well
pair      page 10m 5m 10 keep 3m
bad       0x10 10x2 0x6 _ 0x4
tells     11m  slo_burn_started  page:10m
tells     21m  slo_recovered     page:10m
at        18m  page:10m  firing since 11m
at        19m  page:10m  held since 11m
at        20m  page:10m  firing since 11m

story     every flap is told, none is lost
pair      page 2m 2m 10
bad       0x4 2 0x2 2 0x2 2 0x2
tells     5m   slo_burn_started  page:2m
tells     7m   slo_recovered     page:2m
tells     8m   slo_burn_started  page:2m
tells     10m  slo_recovered     page:2m
tells     11m  slo_burn_started  page:2m
tells     13m  slo_recovered     page:2m

story     for as long as one tick starts with the second true one
pair      page 2m 2m 10 for 1m
bad       0x4 5x2 0x2
tells     6m   slo_burn_started  page:2m
tells     8m   slo_recovered     page:2m

story     a failure that is over before for has passed is never told
pair      page 5m 5m 10 for 10m
bad       0x5 50x2 0x5
at        6m   page:5m  pending since 6m
at        12m  page:5m  quiet since 12m
