#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The .deb on a booted Debian whose Sentinel is the distribution's own, unit and all:
# installed with apt, used, broken, upgraded, removed.  check-package runs it in namespaces
# of its own.
#
#	package-boot.sh NAME TREE redis|valkey OLDER.deb NEW.deb
#
# The host is 10.77.0.1, with the packaged server and Sentinel; behind a wire is 10.77.0.2,
# with a replica and two more Sentinels, which are plain processes.

set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/boot.sh
. "$here/boot.sh"

readonly name=$1 tree=$2 server=$3 older=$4 new=$5
readonly vip=10.77.0.250 config=/etc/sentinel-vip.conf
readonly sentinel_conf=/etc/$server/sentinel.conf unit=$server-sentinel.service
readonly program=/usr/sbin/sentinel-vip

# What is seen -------------------------------------------------------------

began=$SECONDS
fail() {
	printf '%s: FAILED: %s\n' "$name" "$*" >&2
	[[ ! -s $boot_memory/said ]] || sed 's/^/    /' "$boot_memory/said" >&2
	boot_run journalctl --no-pager -q -n 40 -o short-precise >&2
	exit 1
}

# $1 what, then a command that must succeed
must() {
	local what=$1

	shift
	"$@" >"$boot_memory/said" 2>&1 || fail "$what"
	printf '%s: %3d s  %s\n' "$name" $((SECONDS - began)) "$what"
}

# $1 seconds, $2 what, then a command that must succeed within these
soon() {
	local tries=$(($1 * 10)) what=$2

	shift 2
	for (( ; tries > 0; tries--)); do
		if "$@" >"$boot_memory/said" 2>&1; then
			printf '%s: %3d s  %s\n' "$name" $((SECONDS - began)) "$what"
			return
		fi
		sleep 0.1
	done
	fail "not in time: $what"
}

not() {
	! "$@"
}

has_vip() {
	boot_run ip -o addr show to "$vip/32" | grep .
}

is_master() {
	boot_run "$server-cli" -p 26379 sentinel get-master-addr-by-name mymaster | grep -x "$1"
}

enabled() {
	[[ $(boot_run systemctl is-enabled "$1" 2>/dev/null) == enabled ]]
}

active() {
	boot_run systemctl is-active --quiet "$1"
}

# owner:group:mode of a file
is_given() {
	[[ $(boot_run stat -c %U:%G:%a "$1") == "$2" ]]
}

# check says nothing but "ok"
all_green() {
	boot_run "$program" check | tee "$boot_memory/said"
	((PIPESTATUS[0] == 0)) && grep -q '^0 errors, 0 warnings' "$boot_memory/said"
}

# check ends with 1 and says all of these
check_names() {
	check_names_from "$program" "$@"
}

check_names_from() {
	local word

	boot_run "$1" check >"$boot_memory/check"
	(($? == 1)) || return
	cat "$boot_memory/check"
	shift
	for word in "$@"; do
		grep -qF -- "$word" "$boot_memory/check" || {
			echo "^^^ does not say: $word"
			return 1
		}
	done
}

# What is done -------------------------------------------------------------

# A wire with a second host at its other end, there after each boot.
lay_wire() {
	cat >"$boot_tree/usr/local/sbin/wire" <<-'E'
		#!/bin/sh
		set -e
		ip netns add b
		ip link add lan type veth peer name eth0 netns b
		ip addr add 10.77.0.1/24 dev lan
		ip link set lan up
		ip -n b addr add 10.77.0.2/24 dev eth0
		ip -n b link set eth0 up
		ip -n b link set lo up
	E
	chmod 755 "$boot_tree/usr/local/sbin/wire"
	cat >"$boot_tree/etc/systemd/system/wire.service" <<-'E'
		[Unit]
		Before=network.target
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=/usr/local/sbin/wire
		[Install]
		WantedBy=multi-user.target
	E
}

# $1 name, $2 command
plain_process() {
	cat >"$boot_tree/etc/systemd/system/$1.service" <<-E
		[Unit]
		Requires=wire.service
		After=wire.service
		[Service]
		NetworkNamespacePath=/run/netns/b
		User=$server
		ExecStart=$2
		[Install]
		WantedBy=multi-user.target
	E
	ln -s "../$1.service" "$boot_tree/etc/systemd/system/multi-user.target.wants/$1.service"
}

# What a Sentinel knows besides its port.
monitor() {
	cat <<-E
		sentinel monitor mymaster 10.77.0.1 6379 2
		sentinel down-after-milliseconds mymaster 3000
		sentinel failover-timeout mymaster 3000
	E
}

prepare() {
	local port base=$boot_tree/var/lib/plain

	lay_wire
	mkdir -p "$boot_tree/etc/systemd/system/multi-user.target.wants" "$base"
	ln -s ../wire.service "$boot_tree/etc/systemd/system/multi-user.target.wants/wire.service"
	plain_process plain-server "/usr/bin/$server-server /var/lib/plain/server.conf"
	printf 'port 6379\nprotected-mode no\nreplicaof 10.77.0.1 6379\nsave ""\ndir /tmp\n' >"$base/server.conf"
	for port in 26379 26380; do
		plain_process "plain-sentinel-$port" "/usr/bin/$server-sentinel /var/lib/plain/$port.conf"
		{
			printf 'port %s\nprotected-mode no\ndir /tmp\n' "$port"
			monitor
		} >"$base/$port.conf"
	done
	chroot "$boot_tree" chown -R "$server:" /var/lib/plain
	sed -i -E 's/^bind .*/bind * -::*/; s/^protected-mode .*/protected-mode no/; s/^# *repl-diskless-sync-delay.*|^repl-diskless-sync-delay.*/repl-diskless-sync-delay 0/' \
		"$boot_tree/etc/$server/$server.conf"
	sed -i -E '/^sentinel (monitor|down-after|failover-timeout)/d' "$boot_tree$sentinel_conf"
	monitor >>"$boot_tree$sentinel_conf"
}

# Sentinel writes to its file, so it is edited while it does not run.  One that failed several
# times is not started again so soon.
edit_sentinel() {
	boot_run systemctl stop "$unit" && boot_run sed -i "$1" "$sentinel_conf" || return
	boot_run systemctl reset-failed "$unit" 2>/dev/null
	boot_run systemctl start "$unit"
}

fail_over() {
	boot_run "$server-cli" -p 26379 sentinel failover mymaster | grep -x OK
}

install() {
	boot_push "$1" /root/sentinel-vip.deb && boot_run apt-get install -q -y --no-install-recommends /root/sentinel-vip.deb
}

# Files of the configuration and of what the package keeps, to be compared.
traces() {
	boot_run find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/cache -o \
		-path /var/lib/apt -o -path /var/lib/plain -o -path "/var/lib/$server" -o -path /var/lib/dpkg/triggers \) -prune -o -print |
		grep -vE '^/root/|^/var/lib/dpkg/(status|available|diversions|statoverride|lock|alternatives)|^/var/lib/systemd/' |
		sort
	boot_run find /run -xdev -name '*sentinel-vip*' -not -path '/run/systemd/*' | sort
	boot_run find /var/lib/systemd /run/systemd -xdev -name '*sentinel-vip*' | sed '\,/run/systemd/units,d; \,/timers/,d' | sort
}

# --------------------------------------------------------------------------

quorum() {
	boot_run "$server-cli" -p 26379 sentinel ckquorum mymaster | grep -E '^OK 3 usable' &&
		boot_run "$server-cli" -p 26379 sentinel replicas mymaster | grep -x 10.77.0.2
}

begin() {
	boot_copy "$tree" || exit 1
	prepare
	boot_start "$name" || fail "does not boot"
	soon 30 "three Sentinels and a replica are there" quorum
	traces >"$boot_memory/before"
	boot_run systemctl cat "$unit" >"$boot_memory/unit"
	boot_run systemd-analyze security --no-pager "$unit" >"$boot_memory/security"
	[[ -s $boot_memory/unit && -s $boot_memory/security ]] || fail "what is the unit of Sentinel?"
}

unit_unchanged() {
	boot_run systemctl cat "$unit" | diff "$boot_memory/unit" - &&
		boot_run systemd-analyze security --no-pager "$unit" | diff "$boot_memory/security" -
}

quick_start() {
	must "apt installs the package" install "$older"
	must "the configuration is for root and $server alone" is_given "$config" "root:$server:640"
	must "the socket is enabled" enabled sentinel-vip.socket
	must "the socket is there, for $server alone" is_given /run/sentinel-vip.socket "root:$server:660"
	must "without a VIP the timer is not enabled" not enabled sentinel-vip-sync.timer
	must "without a VIP check says what is missing" check_names "no master is configured"
	must "two lines of configuration" boot_run sh -c "printf '[mymaster]\nvip = $vip\n' >>$config"
	soon 10 "the timer is enabled" enabled sentinel-vip-sync.timer
	soon 10 "the wait for the first VIP is over" not enabled sentinel-vip-first.path
	soon 10 "sync has bound the VIP" has_vip
	must "one line for Sentinel" edit_sentinel "\$a sentinel client-reconfig-script mymaster $program"
	soon 10 "Sentinel knows the others again" quorum
	soon 10 "check is all green" all_green
}

# Two programs of the operator's, until told_no_more.
tell_hooks() {
	boot_run sh -c "printf '#!/bin/sh\necho told of \$SENTINEL_VIP_EVENT; grep CapEff /proc/self/status\n' >/usr/local/lib/told &&
		chmod 755 /usr/local/lib/told &&
		printf 'after-claim = /usr/local/lib/told\nafter-release = /usr/local/lib/told\n' >>$config"
}

told_no_more() {
	boot_run sh -c "rm /usr/local/lib/told && sed -i '/^after-/d' $config"
}

# $1 since when, $2 event
was_told() {
	boot_run sh -c "journalctl -q --since $1 -t sentinel-vip >/run/told
		grep '$2 says: told of $2' /run/told && grep '$2 says: CapEff:.*0000000000000000' /run/told &&
		grep '$2: /usr/local/lib/told ended well' /run/told"
}

# By Sentinel's calls alone: no timer helps.
failovers() {
	local since

	must "two hooks are configured" tell_hooks
	must "the timer is stopped" boot_run systemctl stop sentinel-vip-sync.timer
	since=$(boot_run date +@%s)
	must "SENTINEL FAILOVER" fail_over
	soon 10 "the other host is master" is_master 10.77.0.2
	soon 5 "the VIP has gone" not has_vip
	must "the journal says so" boot_run sh -c "journalctl -q --since $since -t sentinel-vip | grep 'mymaster.*$vip'"
	soon 5 "the hook was told, without capabilities" was_told "$since" after-release
	must "our server is its replica" boot_run "$server-cli" replicaof 10.77.0.2 6379
	soon 15 "Sentinel has seen that" replica_is_well
	must "SENTINEL FAILOVER back" fail_over
	soon 10 "this host is master" is_master 10.77.0.1
	soon 5 "the VIP has come" has_vip
	soon 5 "the other hook was told" was_told "$since" after-claim
	must "it was asked for by user $server" boot_run sh -c "journalctl -q --since $since -t sentinel-vip | grep 'for $server '"
	must "Sentinel's unit is what it was" unit_unchanged
	must "the other server is the replica again" boot_run ip netns exec b "$server-cli" replicaof 10.77.0.1 6379
	must "the timer is started" boot_run systemctl start sentinel-vip-sync.timer
}

replica_is_well() {
	boot_run "$server-cli" -p 26379 sentinel replicas mymaster | grep -A1 -x flags | grep -x slave &&
		boot_run "$server-cli" -p 26379 sentinel replicas mymaster | grep -A1 -x master-link-status | grep -x ok
}

as_nobody() {
	boot_run setpriv --reuid nobody --regid nogroup --clear-groups "$@"
}

# Neither by the program's own hands nor by the relay's.
nobody_may_not() {
	must "nobody may not move the VIP" not as_nobody "$program" mymaster leader start \
		10.77.0.1 6379 10.77.0.2 6379
	must "nor by hand" not as_nobody "$program" release mymaster
	must "nor have it made right" not as_nobody "$program" sync
	must "nor open the socket" boot_run sh -c "setpriv --reuid nobody --regid nogroup --clear-groups \
		perl -MSocket -e 'socket(S, AF_UNIX, SOCK_SEQPACKET, 0) or die;
		connect(S, pack_sockaddr_un(\"/run/sentinel-vip.socket\")) and die \"it answers\"; \$!{EACCES} or die \$!'"
	must "the VIP is where it was" has_vip
}

timer_mends() {
	local since

	since=$(boot_run date +@%s)
	must "somebody deletes the VIP" boot_run ip addr del "$vip/32" dev lan
	soon 8 "the timer has put it back" has_vip
	soon 5 "the hook was told of that as well" was_told "$since" after-claim
	must "no hooks any more" told_no_more
	boot_again || fail "does not boot again"
	soon 30 "after a reboot the VIP is there" has_vip
	soon 20 "and three Sentinels" quorum
	soon 10 "and check is all green" all_green
}

check_tells() {
	must "the socket is disabled" boot_run systemctl disable --now sentinel-vip.socket
	must "check names the socket" check_names "systemctl enable --now sentinel-vip.socket"
	must "the socket is enabled again" boot_run systemctl enable --now sentinel-vip.socket
	must "the configuration is for root alone" boot_run chgrp root "$config"
	must "check names the configuration" check_names "$config" "chgrp"
	must "the configuration is for $server again" boot_run chgrp "$server" "$config"
	must "the program is called by a path that Sentinel may not execute" outside
	soon 10 "check names the path" check_names "/opt/sentinel-vip, which NoExecPaths=" "client-reconfig-script"
	must "called from there it says so, too" check_names_from /opt/sentinel-vip "ExecPaths=/opt/sentinel-vip"
	must "that goes" boot_run rm /opt/sentinel-vip
	must "check says that, too" check_names "/opt/sentinel-vip: No such file"
	must "the program is called where it may be" edit_sentinel "s|/opt/sentinel-vip|$program|"
	soon 10 "Sentinel knows the others again" quorum
	soon 10 "check is all green again" all_green
}

# Sentinel does not even start then.
outside() {
	boot_run cp "$program" /opt/sentinel-vip
	! edit_sentinel "s|$program|/opt/sentinel-vip|"
}

same_as_before() {
	traces | diff "$boot_memory/before" -
}

lifetimes() {
	# shellcheck disable=SC2016 # of sed
	must "the administrator adds a comment" boot_run sed -i '$a # mine' "$config"
	must "an upgrade" install "$new"
	must "the VIP is held" has_vip
	must "the socket is there" active sentinel-vip.socket
	must "the timer runs" active sentinel-vip-sync.timer
	must "the configuration is the administrator's" boot_run grep -qx '# mine' "$config"
	must "and for whom it was" is_given "$config" "root:$server:640"
	soon 10 "check is all green" all_green
	must "a removal" boot_run apt-get remove -q -y sentinel-vip
	must "the VIP stays" has_vip
	must "the configuration stays" boot_run grep -qx "vip = $vip" "$config"
	# links that enable them are Debian's memory of that, until a purge
	must "the units are gone" not boot_run sh -c "systemctl list-units --all --no-legend 'sentinel-vip*' |
		grep -v ' not-found ' || systemctl list-unit-files --no-legend 'sentinel-vip*' | grep ."
	must "the socket is gone" not boot_run test -e /run/sentinel-vip.socket
	must "somebody deletes the VIP" boot_run ip addr del "$vip/32" dev lan
	must "it is installed again" install "$new"
	soon 10 "the VIP is back" has_vip
	must "the socket is there" is_given /run/sentinel-vip.socket "root:$server:660"
	soon 10 "check is all green" all_green
	must "a purge" boot_run apt-get purge -q -y sentinel-vip
	must "the VIP stays" has_vip
	must "nothing is left" same_as_before
}

# Neither Redis nor Valkey is fine, and either may come later.
comes_later() {
	local file

	file=$(boot_run dpkg -L "$server-sentinel" | grep "/$unit\$")
	# dpkg wants to know every group of its overrides
	must "nobody is called $server" boot_run sh -c "cd /var/lib/dpkg && mv statoverride /root && : >statoverride &&
		sed -i 's/^$server:/was-$server:/' /etc/group"
	must "it is installed" install "$new"
	must "the configuration is for root alone" is_given "$config" root:root:640
	must "the socket is for root alone" is_given /run/sentinel-vip.socket root:root:660
	must "$server is there" boot_run sh -c "mv /root/statoverride /var/lib/dpkg && sed -i 's/^was-$server:/$server:/' /etc/group"
	must "its Sentinel is installed" boot_run sh -c "dpkg-trigger --by-package=$server-sentinel $file && dpkg --configure --pending"
	must "the configuration is for $server, too" is_given "$config" "root:$server:640"
	must "the socket is for $server" is_given /run/sentinel-vip.socket "root:$server:660"
	must "a purge" boot_run apt-get purge -q -y sentinel-vip
	must "nothing is left" same_as_before
}

begin
quick_start
failovers
nobody_may_not
timer_mends
check_tells
lifetimes
comes_later
boot_stop
