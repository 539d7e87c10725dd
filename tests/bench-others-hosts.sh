# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of the file that sources this one
#
# The hosts of bench-others, and what is made of that which happens on them.  Each host has a
# /run of its own, where its configuration and its end of /dev/log are.  To be called in new
# mount and network namespaces only.

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

now_ms() {
	now=$((${EPOCHREALTIME//[!0-9]/} / 1000))
}

#
# What happens: lines "KIND HOST TEXT" from all that is followed
#

declare -A says=() marks=()
master='' served_by='' half=''

# The master as two of three Sentinels name it.
count_votes() {
	local host other votes

	for host in "${hosts[@]}"; do
		votes=0
		for other in "${hosts[@]}"; do
			[[ ${says[$other]} != "$host" ]] || votes=$((votes + 1))
		done
		((votes < 2)) || master=$host
	done
}

# What follows is told apart in the summary.
step() {
	now_ms
	step_at=$now
	marks=([silence]=0 [gone]=0)
}

# For the summary: the milliseconds since the step began, of the first time only.
mark() {
	now_ms
	[[ -n ${marks[$1]-} ]] || marks[$1]=$((now - step_at))
}

# Sentinel's own log, of which this understands what matters here.
event_sentinel() {
	local host=$1 text=$2 what at rest

	[[ $text =~ \ [#*]\ ([+-][a-z-]+)\ ?(.*)$ ]] || return 0
	what=${BASH_REMATCH[1]} rest=${BASH_REMATCH[2]}
	case $what in
	+promoted-slave) mark promoted ;;
	+switch-master)
		read -r _ _ _ at _ <<<"$rest"
		says[$host]=${name_of[$at]}
		count_votes
		;;
	esac
}

# `ip monitor address` of a host: the kernel's word on who holds the VIP.
event_address() {
	[[ $2 != *" $vip/"* || $2 == Deleted* ]] || mark claimed
}

event_client() {
	local text=$1 silence

	case $text in
	acknowledged*)
		[[ $text =~ \ by\ ([0-9.]+)(\ again\ after\ ([0-9]+)\ ms)? ]] || return 0
		served_by=${name_of[${BASH_REMATCH[1]}]-${BASH_REMATCH[1]}} silence=${BASH_REMATCH[3]:-0}
		((silence <= marks[silence])) || marks[silence]=$silence
		;;
	lost:*) served_by= ;;
	gone:*)
		[[ $text =~ ([0-9]+) ]]
		marks[gone]=$((marks[gone] + BASH_REMATCH[1]))
		;;
	esac
}

# Takes what happens until the command that follows is true, SECONDS at most.
watch() {
	local line kind host text until

	now_ms
	until=$((now + $1 * 1000))
	shift
	while ! "$@"; do
		now_ms
		((now < until)) || return 1
		# A line can arrive in two halves when the time is up in the middle of it.
		if ! IFS= read -r -t 0.1 -u 3 line; then
			half+=$line
			continue
		fi
		IFS=$'\t' read -r kind host text <<<"$half$line"
		half=''
		case $kind in
		sentinel) event_sentinel "$host" "$text" ;;
		address) event_address "$host" "$text" ;;
		client) event_client "$text" ;;
		esac
	done
}
