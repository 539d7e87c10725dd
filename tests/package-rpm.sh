#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The .rpm in a root file system that is not booted: its scripts run there, and find
# systemctl and the group of redis.  check-package runs it in namespaces of its own.
#
#	package-rpm.sh TREE FILE.rpm

set -uo pipefail

# shellcheck source=tests/boot.sh
. "$(dirname "${BASH_SOURCE[0]}")/boot.sh"

readonly tree=$1 package=$2
readonly config=/etc/sentinel-vip.conf wants=/etc/systemd/system

# $1 what, then a command that must succeed
must() {
	local what=$1

	shift
	"$@" >"$boot_memory/said" 2>&1 && return
	printf 'rpm: FAILED: %s\n' "$what" >&2
	sed 's/^/    /' "$boot_memory/said" >&2
	exit 1
}

not() {
	! "$@"
}

is_given() {
	[[ $(chroot "$boot_tree" stat -c %U:%G:%a "$1") == "$2" ]]
}

has_link() {
	[[ -L $boot_tree$wants/$1 ]]
}

# rpm tells of a script that fails, and goes on.
run_rpm() {
	rpm --force-debian --root "$boot_tree" "$@" >"$boot_memory/said" 2>&1 || return
	cat "$boot_memory/said"
	! grep -qiE 'scriptlet failed|error|not found' "$boot_memory/said"
}

# /usr/share/licenses is another package's there
traces() {
	(cd "$boot_tree" && find . -xdev \( -path ./proc -o -path ./run -o -path ./var/lib/rpm -o -path ./var/tmp \) \
		-prune -o -print | grep -vx ./usr/share/licenses | sort)
}

boot_copy "$tree" || exit 1
must "a data base" rpm --root "$boot_tree" --initdb
traces >"$boot_memory/before"

# its libraries have other names here than where it belongs
must "it is installed" run_rpm -i --nodeps "$package"
must "its files are what was packed" rpm --root "$boot_tree" -V --nodeps --nogroup sentinel-vip
must "the configuration is for root and redis alone" is_given "$config" root:redis:640
must "the socket is enabled" has_link sockets.target.wants/sentinel-vip.socket
must "the wait for the first VIP is enabled" has_link paths.target.wants/sentinel-vip-first.path
must "so is its service" has_link multi-user.target.wants/sentinel-vip-first.service
must "the timer is not" not has_link timers.target.wants/sentinel-vip-sync.timer
must "systemd understands the units" chroot "$boot_tree" systemd-analyze verify --man=no --recursive-errors=no \
	sentinel-vip.socket sentinel-vip-sync.timer sentinel-vip-first.path

printf '[mymaster]\nvip = 10.77.0.250\n' >>"$boot_tree$config"
must "the socket is disabled" chroot "$boot_tree" systemctl disable sentinel-vip.socket
must "it is installed over itself" run_rpm -U --nodeps --force "$package"
must "the configuration is the administrator's" grep -q '^vip = 10.77.0.250' "$boot_tree$config"
must "for whom it was" is_given "$config" root:redis:640
must "what was disabled stays so" not has_link sockets.target.wants/sentinel-vip.socket
must "it is removed" run_rpm -e sentinel-vip
must "the configuration is saved" grep -q '^vip = 10.77.0.250' "$boot_tree$config.rpmsave"
rm "$boot_tree$config.rpmsave"
traces >"$boot_memory/after"
must "nothing else is left" diff "$boot_memory/before" "$boot_memory/after"
echo "rpm: installs, keeps and removes what it should"
