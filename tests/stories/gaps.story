# Absence of data is never success, and never failure (I2).

story     no data holds what fires, and the end needs four of five minutes
pair      page 1h 5m 14.4
bad       0x60 100x3 _x6 0x5
tells     1h1m  slo_burn_started   page:1h
tells     1h8m  slo_data_lost      data       no data in this tick
tells     1h10m slo_data_restored  data       data in this tick
tells     1h13m slo_recovered      page:1h    5m burns 0, below 14.4
at        1h4m  page:1h  held since 1h1m
at        1h4m  data     no_data
at        1h9m  page:1h  held since 1h1m
at        1h9m  why      page:1h held: no data in this tick
at        1h10m page:1h  held since 1h1m
at        1h10m why      page:1h held: 5m burns 0, below 14.4, but under 80% of it is known
at        1h12m page:1h  held since 1h1m

story     errors hold too, whatever kind they are
pair      page 1h 5m 14.4
bad       0x60 100x5 error missed unknown 0x5
tells     1h1m  slo_burn_started   page:1h
tells     1h12m slo_recovered      page:1h
at        1h6m  page:1h  held since 1h1m
at        1h6m  data     error
at        1h6m  why      page:1h held: Prometheus or the query failed
at        1h7m  data     error
at        1h7m  why      page:1h held: this tick has not been fetched yet
at        1h8m  data     error
at        1h8m  why      page:1h held: this tick is unknown
at        1h11m page:1h  held since 1h1m

story     a quiet pair stays quiet through any fault
pair      page 1h 5m 14.4
bad       0x60 _ error missed unknown 0x3
at        1h2m  page:1h  quiet since 1m
at        1h7m  page:1h  quiet since 1m

story     partial answers are stored and never end anything
# P17: the counts of minutes 66 to 70 are good but partial; only whole ticks cover the five minutes
pair      page 1h 5m 14.4
bad       0x60 100x5 0?x10 0x5
tells     1h1m  slo_burn_started   page:1h
tells     1h19m slo_recovered      page:1h
at        1h6m  data     partial
at        1h10m page:1h  held since 1h1m
at        1h10m why      page:1h only a partial answer in this tick; 5m burns 0, below 14.4
at        1h18m page:1h  held since 1h1m

story     a partial answer that burns even so may start a pair
pair      page 1h 5m 14.4
bad       0x60 100?x2 0x10
tells     1h1m  slo_burn_started   page:1h
tells     1h7m  slo_recovered      page:1h

story     what is unknown counts as good before a pair starts
# after 20 of 60 minutes 2 % failed: 20 on what is known, 6.7 over the hour; 43 failures per minute less
pair      page 1h 5m 14.4
bad       2x44
tells     44m   slo_burn_started   page:1h   1h burns 20 and 5m burns 20, at or above 14.4
at        20m   page:1h  quiet since 1m
at        20m   why      page:1h not at 14.4 were the unknown ticks good
at        43m   page:1h  quiet since 1m

story     an outage of Prometheus amid a burst does not hide the burst
# of the hour 50 minutes are known; 100 failures of 5,000 burn at 20, at 16.7 over the hour
pair      page 1h 5m 14.4
bad       0x50 _x9 20x5
tells     55m   slo_data_lost      data
tells     1h    slo_data_restored  data
tells     1h4m  slo_burn_started   page:1h

story     a service without traffic for one long window ends its alert
pair      page 1h 5m 14.4
bad       0x60 100x5 -x60
tells     1h1m  slo_burn_started   page:1h
tells     2h5m  slo_recovered      page:1h   no_traffic
at        1h10m page:1h  held since 1h1m
at        1h10m data     no_traffic
at        1h10m why      page:1h held: no traffic known in 5m
at        2h4m  page:1h  held since 1h1m
at        2h5m  why      page:1h no_traffic

story     no traffic in a window that is mostly unknown ends nothing
pair      page 1h 5m 14.4
bad       0x60 100x5 -x47 _x13 -
tells     1h1m  slo_burn_started   page:1h
tells     1h57m slo_data_lost      data
tells     2h6m  slo_data_restored  data
at        2h6m  page:1h  held since 1h1m

story     no traffic is not good news either until the long window is over
# a firing pair, four minutes of nothing, then failures again: it never ended
pair      page 1h 5m 14.4
bad       0x60 100x5 -x8 50x5
tells     1h1m  slo_burn_started   page:1h
at        1h12m page:1h  held since 1h1m
at        1h18m page:1h  firing since 1h1m
