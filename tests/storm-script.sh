#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The shell script that sentinel-vip replaces, for `make bench-storm`; see bench-script.sh.
set -euo pipefail

vip=${1#vip-}
if [ "$6" = "$STORM_SELF" ]; then
	ip addr add "$vip/16" dev eth0
	arping -q -c 3 -A -I eth0 "$vip"
else
	ip addr del "$vip/16" dev eth0 2>/dev/null || true
fi
