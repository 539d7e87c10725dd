# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of the file that sources this one
#
# The hosts of the demonstration, the switch between them, and what runs in them.
# To be called in new mount and network namespaces only.  Each host has a /run of its
# own, where its lock, its configuration and its end of /dev/log are.

readonly top=/run/demo

private_directories() {
	local program=$1 bin=$2 node

	mount -t tmpfs -o mode=755 demo /mnt
	mkdir /mnt/{bin,dev}
	cp "$program" /mnt/bin/sentinel-vip
	cp "$bin/writer" "$bin/collect" /mnt/bin/
	mount -t tmpfs -o mode=755 demo /run
	mkdir "$top"
	cp -r /mnt/bin "$top/"
	mount -t tmpfs -o mode=755 demo /mnt/dev
	for node in null zero full random urandom tty; do
		: >"/mnt/dev/$node"
		mount --bind "/dev/$node" "/mnt/dev/$node"
	done
	ln -s /proc/self/fd /mnt/dev/fd
	ln -s /run/log /mnt/dev/log
	mount --move /mnt/dev /dev
	umount /mnt
	cd "$top" || exit
}

# Becomes a command on a host; to be called in a subshell, whose process id is then the command's.
# shellcheck disable=SC2016 # the inner shell expands them
become() {
	local host=$1
	shift
	exec ip netns exec "$host" sh -c 'mount --bind "$0" /run && exec "$@"' "$top/$host" "$@"
}

on() {
	(become "$@")
}

# In the background; its output, line by line, becomes events "KIND HOST LINE".
follow() {
	local kind=$1 host=$2
	shift 2
	become "$host" "$@" > >(exec sed -u "s/^/$kind\t$host\t/" >&3) 2>&1 &
	followed=$!
	disown
}

plug() {
	local host=$1

	mkdir "$top/$host"
	cp -r "$top/bin" "$top/$host/bin"
	ip netns add "$host"
	ip -n switch link add name "$host" type veth peer name eth0 netns "$host"
	ip -n switch link set dev "$host" master switch up
	ip -n "$host" link set dev lo up
	ip -n "$host" link set dev eth0 address "${mac[$host]}" up
	ip -n "$host" address add "${address[$host]}/$prefix" dev eth0
}

network() {
	local host

	ip netns add switch
	ip -n switch link add name switch type bridge
	ip -n switch link set dev switch up
	for host in "${hosts[@]}" client; do
		plug "$host"
	done
}

configure() {
	local host=$1 at=${address[$1]} redis="$top/$1/redis" sentinel="$top/$1/sentinel"

	mkdir "$redis" "$sentinel"
	cat >"$top/$host/sentinel-vip.conf" <<-END
		[$master_name]
		vip = $vip/$prefix
		interface = eth0
	END
	cat >"$redis/redis.conf" <<-END
		port 6379
		bind * -::*
		protected-mode no
		dir /run/redis
		logfile /run/redis/log
		save ""
		repl-diskless-sync-delay 0
		replica-announce-ip $at
	END
	[[ $host == a ]] || echo "replicaof ${address[a]} 6379" >>"$redis/redis.conf"
	cat >"$sentinel/sentinel.conf" <<-END
		port 26379
		protected-mode no
		dir /run/sentinel
		sentinel announce-ip $at
		sentinel monitor $master_name ${address[a]} 6379 2
		sentinel down-after-milliseconds $master_name $down_after_ms
		sentinel failover-timeout $master_name 10000
		sentinel client-reconfig-script $master_name /run/bin/sentinel-vip
	END
}

redis() {
	local host=$1
	shift
	timeout 2 ip netns exec client redis-cli -h "${address[$host]}" -p 6379 "$@" 2>/dev/null
}

sentinel() {
	local host=$1
	shift
	timeout 2 ip netns exec client redis-cli -h "${address[$host]}" -p 26379 sentinel "$@" 2>/dev/null
}
