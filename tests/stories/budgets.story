# What is left of the budget, and when others are told. One hour of 6,000 requests may fail 60 times at 99 %.

story     a budget is spent, overspent, and comes back as failures leave the window
target    99%
window    1h
bad       0x60 30x2 10 0x59
tells     1h2m  slo_budget_exhausted  budget  0% of the error budget remains
tells     2h1m  slo_budget_restored   budget  33.3333% of the error budget remains
at        1h1m  remaining   0.5
at        1h1m  burn        0.5
at        1h1m  breached    no
# exactly the allowed failures: exhausted, and the target is just met
at        1h2m  remaining   0
at        1h2m  exhausted   yes
at        1h2m  breached    no
at        1h2m  exhaustion  0
at        1h3m  remaining   -0.166667
at        1h3m  breached    yes
at        2h    remaining   -0.166667
at        2h1m  remaining   0.333333

story     how long the rest lasts at the pace of the last quarter of the window
# 30 of 60 left; 30 failures in 15 minutes are 2 per minute
target    99%
window    1h
bad       0x60 30 0x14 0
at        1h    exhaustion  unknown
at        1h1m  exhaustion  900
at        1h15m exhaustion  900
at        1h16m exhaustion  unknown

story     thirty days at the start know two hours
# D22: the value over what is known, its coverage, and how wrong it can be
bad       0x119 6
at        2h    remaining   0.5
at        2h    coverage    0.00277778
at        2h    best        0.998611
at        2h    worst       -996.224
at        2h    data        ok

story     two bad hours of thirty days exhaust nothing for certain
bad       50x120
at        2h    remaining   -499
at        2h    exhausted   yes
at        2h    best        -0.388889
at        1h    best        0.305556
tells     1h27m slo_budget_exhausted  budget
at        1h26m why  budget more than that were the unknown ticks good

story     five nines: no failure leaves all, exactly the allowed ones leave nothing
# D20: 1 - 0.99999 is not 0.00001 in floats; 600 of 60,000,000 requests may fail
target    99.999%
window    1h
total     1000000
bad       0x60 599 1 0 1
tells     1h2m  slo_budget_exhausted  budget  0% of the error budget remains
at        1h    remaining   1
at        1h1m  exhausted   no
at        1h1m  remaining   0.00166667
at        1h2m  remaining   0
at        1h2m  exhausted   yes
at        1h2m  breached    no
at        1h4m  breached    yes
at        1h4m  remaining   -0.00166667

story     no traffic spends nothing and knows it
window    1h
bad       -x60
at        1h    remaining   1
at        1h    burn        unknown
at        1h    breached    no
at        1h    exhausted   no
at        1h    worst       1
at        1h    data        no_traffic

story     nothing is known: every figure is absent
window    1h
bad       _x4
at        4m    remaining   unknown
at        4m    burn        unknown
at        4m    worst       unknown
at        4m    breached    unknown
at        4m    exhausted   unknown
at        4m    exhaustion  unknown
at        4m    coverage    0

story     an exhausted budget is not restored by an outage
# the failures of 1h1m leave at 2h1m; 48 of 60 minutes are known again at 2h18m
target    99%
window    1h
bad       0x60 60 0x14 _x15 0x49
tells     1h1m  slo_budget_exhausted  budget
tells     1h20m slo_data_lost         data
tells     1h31m slo_data_restored     data
tells     2h18m slo_budget_restored   budget
at        2h1m  remaining   1
at        2h1m  why         budget under 80% of the window is known
