# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of the files that source this one
#
# What the examples share: hosts with a switch between them, each with an /etc, /var and /run
# of its own, where the example's configuration files are put to where they belong; and
# what is started there.  What happens is shown by show.sh.
#
# All of it lives in namespaces of its own: the machine's network, files and processes are
# neither touched nor seen, several examples run side by side, and the kernel removes
# everything with the last process, however that ends.
#
# An example defines play() and ends with: example "$@"
#
#	SENTINEL_VIP=PROGRAM    shows another program than ../sentinel-vip
#	EXAMPLE_BIN=DIRECTORY   where writer and collect were built, if not ../build
#	NO_COLOR=1              no colours on a terminal either
#
# Exit status: 0 each VIP was where it belongs, 1 one was not, 2 the example itself could not
# be shown.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source-path=SCRIPTDIR source=show.sh
. "$here/show.sh"

readonly top=/run/example
hosts=()		# those that can hold a VIP
declare -A address=() mac=() name_of=() server=() watcher=()
needs=(ip:iproute2 unshare:util-linux setpriv:util-linux redis-server:redis-server
	redis-sentinel:redis-sentinel redis-cli:redis-tools)

fail() {
	printf 'example: %s\n' "$*" >&2
	exit 2
}

#
# Outside: goes into new namespaces, and takes them along when it is ended
#

# --pdeathsig and --kill-child make a chain: whatever kills this script, kill -9
# included, kills process 1 of the namespaces, and the kernel the rest of them.
outside() {
	local program bin tool

	program=${SENTINEL_VIP:-$here/../sentinel-vip}
	bin=${EXAMPLE_BIN:-$here/../build}
	(($(id -u) == 0)) || fail "network namespaces need root: sudo $0"
	for tool in "${needs[@]}"; do
		PATH=$PATH:/usr/sbin command -v "${tool%:*}" >/dev/null ||
			fail "${tool%:*} is missing: apt-get install ${tool#*:}"
	done
	for tool in "$program" "$bin/writer" "$bin/collect"; do
		[[ -x $tool ]] || fail "$tool is missing: make examples builds it"
	done

	trap 'stop 129' HUP
	trap 'stop 130' INT
	trap 'stop 143' TERM
	setpriv --pdeathsig KILL unshare --mount --net --pid --ipc --uts --fork --kill-child=KILL --mount-proc \
		bash "$0" --inside "$program" "$bin" "$@" &
	child=$!
	wait "$child" || exit $?
}

stop() {
	trap '' HUP INT TERM
	kill -KILL "$child" || true
	wait "$child" || true
	printf '%s\n' "$off"
	exit "$1"
} 2>/dev/null

#
# Inside
#

private_directories() {
	local program=$1 bin=$2 node

	mount -t tmpfs -o mode=755 example /mnt
	mkdir -p /mnt/{local/sbin,local/bin,dev}
	cp "$program" /mnt/local/sbin/sentinel-vip
	cp "$bin/writer" "$bin/collect" /mnt/local/bin/
	mount -t tmpfs -o mode=755 example /run
	mkdir "$top"
	cp -r /mnt/local "$top/"
	mount -t tmpfs -o mode=755 example /mnt/dev
	for node in null zero full random urandom tty; do
		: >"/mnt/dev/$node"
		mount --bind "/dev/$node" "/mnt/dev/$node"
	done
	ln -s /proc/self/fd /mnt/dev/fd
	ln -s /run/log /mnt/dev/log
	mount --move /mnt/dev /dev
	umount /mnt
	cd "$top" || exit
	ip link set lo up
	ip netns add switch
	ip -n switch link add name switch type bridge
	ip -n switch link set dev switch up
}

example() {
	colours
	if [[ ${1-} != --inside ]]; then
		outside "$@"
		return
	fi
	# Process 1 is asked to end by the terminal, too; it would not without a trap.
	trap 'exit 130' INT TERM HUP
	umask 022
	export LC_ALL=C
	PATH=/usr/local/sbin:/usr/local/bin:$PATH:/usr/sbin
	folder=$(cd "$(dirname "$0")" && pwd)
	private_directories "$2" "$3"
	mkfifo events
	exec 3<>events
	now_ms
	started=$now
	shift 3
	play "$@"
}

#
# Hosts
#

# The last octet of the address can be read in the neighbour table.
plug() {
	local host=$1 at=$2 dir=$top/$1 file digits

	printf -v digits '%04d' "${at##*.}"
	mac[$host]=02:00:00:00:${digits:0:2}:${digits:2:2}
	address[$host]=$at
	name_of[$at]=$host
	name_of[${mac[$host]}]=$host
	mkdir -p "$dir"/etc/{redis,keepalived,nutcracker} "$dir"/var/{lib,log}/redis "$dir"/{run,tmp}
	for file in passwd group nsswitch.conf hosts services protocols ld.so.cache ld.so.conf ld.so.conf.d \
		alternatives localtime; do
		[[ ! -e /etc/$file ]] || cp -a "/etc/$file" "$dir/etc/"
	done
	# as systemd makes it for Sentinel's unit, which runs as this user
	install -d -m 0700 -o redis -g redis "$dir/run/sentinel-vip" "$dir/run/redis"
	chown redis:redis "$dir"/etc/redis "$dir"/var/{lib,log}/redis
	chmod 1777 "$dir/tmp"
	ip netns add "$host"
	ip -n switch link add name "$host" type veth peer name eth0 netns "$host"
	ip -n switch link set dev "$host" master switch up
	ip -n "$host" link set dev lo up
	ip -n "$host" link set dev eth0 address "${mac[$host]}" up
	ip -n "$host" address add "$at/24" dev eth0
}

# Becomes a command on a host; to be called in a subshell, whose process id is then the command's.
# shellcheck disable=SC2016 # the inner shell expands them
become() {
	local host=$1
	shift
	exec ip netns exec "$host" unshare --uts sh -c 'hostname "$1" && mount --bind "$0/$1/etc" /etc &&
		mount --bind "$0/$1/var" /var && mount --bind "$0/$1/tmp" /tmp &&
		mount --bind "$0/local" /usr/local && mount --bind "$0/$1/run" /run &&
		cd / && shift && exec "$@"' "$top" "$host" "$@"
}

on() {
	(become "$@")
}

# On a host, shown as it is typed there, with what it prints; its status is no concern here.
typed() {
	local host=$1
	shift
	printf '  %s%s # %s%s\n' "$bold" "$host" "$*" "$off"
	on "$host" "$@" 2>&1 | sed 's/^/      /' || true
}

# In the background; its output, line by line, becomes events "KIND HOST LINE".
follow() {
	local kind=$1 host=$2
	shift 2
	become "$host" "$@" > >(exec sed -u "s/^/$kind\t$host\t/" >&3) 2>&1 &
	followed=$!
	disown
}

# The system logs of these hosts, as events.
follow_logs() {
	local host words=()

	for host; do
		words+=("$host=$top/$host/run/log")
	done
	# whoever runs there may write to it, not root alone
	(umask 0 && exec "$top/local/bin/collect" "${words[@]}") >&3 &
	disown
	for host; do
		follow address "$host" ip -o monitor address
	done
}

# A file of the example to its place on a host, whose owner may be named; words NAME=TEXT
# are put in for @NAME@.
put() {
	local host=$1 file=$2 to=$top/$1$3 owner=${4:-root} word
	shift 3
	(($# == 0)) || shift
	mkdir -p "${to%/*}"
	cp "$folder/$file" "$to"
	for word; do
		sed -i "s|@${word%%=*}@|${word#*=}|g" "$to"
	done
	chmod 640 "$to"
	chown "$owner:redis" "$to"
}

# As Debian's units and the example's drop-in run them: as this user, with two capabilities.
# shellcheck disable=SC2054 # commas of setpriv
readonly as_redis=(setpriv --reuid=redis --regid=redis --init-groups --no-new-privs
	--bounding-set=-all,+net_admin,+net_raw --inh-caps=-all,+net_admin,+net_raw
	--ambient-caps=+net_admin,+net_raw)

# HOST [FILE] WORDS...: they are for redis-server, such as --replicaof.
start_redis() {
	local host=$1 file=/etc/redis/redis.conf
	shift
	if [[ ${1-} == /* ]]; then
		file=$1
		shift
	fi
	become "$host" "${as_redis[@]}" redis-server "$file" "$@" >/dev/null &
	server[$host]=$! server[$host $file]=$!
	disown # or bash itself would report how it ended
}

# HOST [FILE]
start_sentinel() {
	follow sentinel "$1" "${as_redis[@]}" redis-sentinel "${2:-/etc/redis/sentinel.conf}"
	watcher[$1]=$followed
}

# Sentinel stops in order, its configuration is edited, and it is started again.
edit_sentinel() {
	local host=$1 edit=$2

	kill -TERM "${watcher[$host]}"
	while kill -0 "${watcher[$host]}" 2>/dev/null; do
		sleep 0.05
	done
	sed -i "$edit" "$top/$host/etc/redis/sentinel.conf"
	start_sentinel "$host"
}

# By sentinel-vip-sync.timer, once for this time; what it says is in the log.
sync_now() {
	local host

	for host; do
		on "$host" "${as_redis[@]}" sentinel-vip sync 2>>"$top/sync" || true
	done
}

# The power fails: nothing runs there, no frame leaves, and only its own address will be back.
power_off() {
	local host=$1

	ip -n switch link set dev "$host" down
	ip netns pids "$host" | xargs -r kill -KILL
	ip -n "$host" address flush dev eth0
	rm -rf "${top:?}/$host/run/"*
}

power_on() {
	local host=$1

	install -d -m 0700 -o redis -g redis "$top/$host/run/sentinel-vip" "$top/$host/run/redis"
	ip -n "$host" address add "${address[$host]}/24" dev eth0
	ip -n switch link set dev "$host" up
}

#
# Questions, asked anew each time
#

redis() {
	local host=$1
	shift
	timeout 2 ip netns exec client redis-cli -h "${address[$host]}" "$@" 2>/dev/null
}

sentinel() {
	local host=$1
	shift
	redis "$host" -p 26379 sentinel "$@"
}

# The host that a majority of these Sentinels calls the master; not those that do not answer.
elected() {
	local name=$1 host at votes=()
	shift
	for host; do
		at=$(sentinel "$host" get-master-addr-by-name "$name" | paste -sd :) || continue
		[[ -z $at ]] || votes+=("${name_of[${at%:*}]-${at%:*}}")
	done
	((${#votes[@]})) || return 0
	printf '%s\n' "${votes[@]}" | sort | uniq -c | sort -rn |
		awk -v need="$(($# / 2 + 1))" 'NR == 1 && $1 >= need { print $2 }'
}

# The hosts whose kernel holds an address.
holders() {
	local host found=()

	for host in "${hosts[@]}"; do
		[[ -z $(ip -n "$host" -o address show to "$1") ]] || found+=("$host")
	done
	echo "${found[*]-}"
}

# Whom the client's neighbour table names for an address.
neighbour_of() {
	local entry

	entry=$(ip -n client neigh show "$1")
	[[ ! $entry =~ lladdr\ ([0-9a-f:]+) ]] || echo "${name_of[${BASH_REMATCH[1]}]-${BASH_REMATCH[1]}}"
}

# True three times a second at most: a question costs processes.
due() {
	now_ms
	((now >= due_ms)) || return 1
	due_ms=$((now + 300))
}
due_ms=0

# The VIP is on this host, on no other, and that is where the client's frames go.
vip_on() {
	local vip=$1 host=$2

	due || return 1
	[[ $(holders "$vip") == "$host" && $(neighbour_of "$vip") == "$host" ]]
}

# So many replicas of the server on a host have caught up; further words are redis-cli's (-p PORT).
replicas_follow() {
	local count=$1 host=$2 info
	shift 2
	due || return 1
	info=$(redis "$host" "$@" info replication) || return 1
	[[ $info == *"connected_slaves:$count"$'\r'* && $(grep -c 'state=online' <<<"$info") == "$count" ]]
}

# A planned failover, which Sentinel refuses as long as it has no fresh news of a replica.
failover_begins() {
	local said

	due || return 1
	said=$(sentinel "$1" failover "$2")
	[[ $said == OK || $said == INPROG* ]]
}

# Each of these Sentinels knows so many replicas and all of the others.
sentinels_agree() {
	local name=$1 replicas=$2 host
	shift 2
	due || return 1
	for host; do
		[[ $(sentinel "$host" master "$name" | paste -sd ' ') == \
			*"num-slaves $replicas num-other-sentinels $(($# - 1)) "* ]] || return 1
	done
}
