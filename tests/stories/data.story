# Data lost and back: told once, after five minutes or three ticks, whichever is longer (P26).

story     four minutes without data are not told, five are
bad       0x3 _x4 0 _x7 0x2
tells     13m  slo_data_lost      data  no data in this tick
tells     16m  slo_data_restored  data
at        4m   data  no_data
at        8m   data  ok
at        16m  data  ok

story     slow ticks: three of them
interval  10m
window    1d
bad       0x3 _x2 0 _x4 0
tells     1h30m slo_data_lost      data
tells     1h50m slo_data_restored  data

story     all kinds of faults add up to a loss
bad       0x3 _ error missed unknown error 0
tells     8m   slo_data_lost      data  Prometheus or the query failed
tells     9m   slo_data_restored  data

story     a partial answer neither loses nor restores data
# it pauses the count: four minutes without data, two partial, one more without
bad       0x3 _x4 0?x2 _ 0?x2 -
tells     10m  slo_data_lost      data
tells     13m  slo_data_restored  data
at        9m   data  partial
at        12m  data  partial
at        13m  data  no_traffic

story     a service that was never there is told once
bad       _x20
tells     5m   slo_data_lost      data
