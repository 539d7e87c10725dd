#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The least that a script can do for `make bench-storm`: it execs the floor program. The master's name
# says which VIP it is, the rest comes from the environment.
[ "$6" = "$STORM_SELF" ] || exit 0
exec "$STORM_FLOOR" "$STORM_IFINDEX" "$STORM_MAC" "${1#vip-}"
