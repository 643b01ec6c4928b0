# When a pair starts and ends. 100 requests a minute, 0.1 % may fail: 0.1 per minute burns at 1.

story     a burst pages as soon as both windows burn, and ends with the short one
pair      page 1h 5m 14.4
bad       0x60 20x6 0x20
# 86.4 failures of the 6,000 of the last hour burn at 14.4: five ticks bring 100.
tells     1h5m  slo_burn_started  page:1h  1h burns 16.6667 and 5m burns 200, at or above 14.4
tells     1h11m slo_recovered     page:1h  5m burns 0, below 14.4
at        1h4m  page:1h  quiet since 1m
at        1h5m  page:1h  firing since 1h5m
at        1h10m page:1h  firing since 1h5m
at        1h11m page:1h  quiet since 1h11m

story     exactly the factor is enough
# 144 of 10,000 requests an hour is 1.44 %: 14.4 times 0.1 %, and 14.4 is not 14.4000001.
pair      page 1h 1h 14.4
total     10000
bad       0/0x59 144/10000 0x60
live      1h
tells     1h     slo_burn_started  page:1h  1h burns 14.4, at or above 14.4
tells     1h1m   slo_recovered     page:1h  below 14.4

story     one failure less than the factor is not enough
pair      page 1h 1h 14.4
bad       0/0x59 143/10000 0/0x2
live      1h
at        1h     page:1h  quiet
at        1h     why      page:1h 1h burns 14.3, below 14.4

story     a slow burn opens a ticket and wakes nobody
# six hours of 360,000 requests burn at 6 with 2,160 failures: 62 times 35; the short window ends it
interval  5m
pair      page 1h 10m 14.4
pair      ticket 6h 30m 6
total     5000
bad       0x72 35x72 0x3
tells     11h10m slo_burn_started  ticket:6h
tells     12h5m  slo_recovered     ticket:6h  30m burns 5.83333, below 6
at        12h    page:1h    quiet since 5m
at        12h    ticket:6h  firing since 11h10m

story     failures that are over do not page, however many they were
# live from 1h on: the hour burns at 150, its last five minutes do not
pair      page 1h 5m 14.4
bad       0x40 90x10 0x20
live      1h
at        1h    page:1h quiet since 1h
at        1h    why     page:1h 5m burns 0, below 14.4

story     the long window alone being below the factor ends nothing
# 25 failures in minutes 2 and 3 leave the half hour at 33m; the five minutes burn at 10 until 40m
pair      page 30m 5m 10
bad       0 25x2 0x22 1x15 0
live      30m
tells     30m slo_burn_started page:30m  30m burns 18.3333 and 5m burns 10, at or above 10
tells     41m slo_recovered    page:30m  5m burns 8, below 10
at        33m page:30m  firing since 30m
at        33m why       page:30m not both at 10 or above

story     the simple form needs no second window
interval  5m
pair      page 1h 1h 14.4
pair      page 6h 6h 14.4
total     500
bad       0x72 100 0x12
tells     6h5m slo_burn_started page:1h
tells     7h5m slo_recovered    page:1h
at        6h5m page:6h quiet since 5m

story     a higher pair that fires suppresses the lower ones, which keep their own state
pair      page 1h 5m 14.4
pair      page 6h 30m 6
pair      ticket 6h 1h 3
# six hours of 36,000 requests: 108 failures burn at 3, 216 at 6
bad       0x360 100x30 0x40
tells     6h1m  slo_burn_started  page:1h
tells     6h2m  slo_burn_started  ticket:6h
tells     6h3m  slo_burn_started  page:6h
tells     6h35m slo_recovered     page:1h
tells     7h    slo_recovered     page:6h
at        6h2m  ticket:6h firing by page:1h
at        6h2m  page:6h   quiet by nobody
at        6h30m page:6h   firing by page:1h
at        6h40m page:6h   firing by nobody
at        6h40m ticket:6h firing by page:6h
at        7h    ticket:6h firing by nobody

story     few events in a quiet night are not enough where a least number is asked for
# D19: one failure of sixty requests burns at 16.7; the third failure within the hour is told
pair      page 1h 5m 14.4 least 3
bad       0/1x59 1/1 0/1x4 1/1x2 0/1x5
at        1h    page:1h  quiet since 1m
at        1h    why      page:1h insufficient events: 1h burns 16.6667
tells     1h6m  slo_burn_started  page:1h
tells     1h11m slo_recovered     page:1h
