#!/bin/sh
# /etc/redis/failover.sh, the old client-reconfig-script, as many have it:
# MASTER ROLE STATE FROM-IP FROM-PORT TO-IP TO-PORT

VIP=172.16.2.250
DEV=eth0

if [ -n "$(ip -o address show dev "$DEV" to "$6")" ]; then
	ip address add "$VIP/24" dev "$DEV"
	arping -q -c 3 -A -I "$DEV" "$VIP"
else
	ip address del "$VIP/24" dev "$DEV" 2>/dev/null
fi
exit 0
