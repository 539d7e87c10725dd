#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The shell script that sentinel-vip replaces, as most people have it as their client-reconfig-script, for `make bench`.
# Sentinel's seven arguments come in; what such scripts have written into their first lines comes from the environment.
set -euo pipefail

to_ip=$6

if [ "$to_ip" = "$BENCH_SELF" ]; then
	ip addr add "$BENCH_VIP/24" dev "$BENCH_INTERFACE"
	arping -q -c 3 -A -I "$BENCH_INTERFACE" "$BENCH_VIP"
else
	ip addr del "$BENCH_VIP/24" dev "$BENCH_INTERFACE"
fi
