# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# A Debian with its own systemd as a container, for tests that need real units.  To be
# sourced.  boot_root makes a root file system once, and boot_here one of what this machine is
# made of; the rest works on a copy of it in memory, within the namespaces that boot_alone has
# made, and ends with these.  Needs root, systemd-nspawn and, for boot_root, debootstrap.

# The archive this machine gets its own packages from.
boot_archive() {
	local codename found

	# shellcheck disable=SC1091 # its keys are os-release(5)
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # apt expands these
	found=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
		sed -n "s/^$codename //p" | head -n 1)
	if [[ -z $found ]]; then
		echo "no archive of Debian is known to apt here: apt-get update" >&2
		return 1
	fi
	echo "$found"
}

# $1 directory, $2 suite, $3 packages with commas: as of debootstrap, unless it is there.
boot_root() {
	local dir=$1 suite=$2 packages=$3 archive

	[[ -e $dir.whole && $(<"$dir.whole") == "$suite $packages" ]] && return
	rm -rf "$dir" "$dir.whole"
	mkdir -p "${dir%/*}"
	archive=$(boot_archive) || return
	debootstrap --variant=minbase --include="systemd,systemd-sysv,$packages" "$suite" "$dir" "$archive" \
		>"$dir.log" 2>&1 || {
		tail -n 5 "$dir.log" >&2
		return 1
	}
	rm -f "$dir"/var/cache/apt/archives/*.deb
	boot_quiet "$dir"
	echo "$suite $packages" >"$dir.whole"
}

# $1 a root file system
boot_quiet() {
	local unit

	# there is no network to fetch anything from
	for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer; do
		ln -sf /dev/null "$1/etc/systemd/system/$unit"
	done
}

# $1 directory, $2 packages that must be here, $3 units that start: the machine's own Debian, as
# two layers to be laid over its files.  One hides what does not belong to Debian's packages, or
# tells of this machine; the other has what a new one would have there.
boot_here() {
	local dir=$1 hidden=$1/hidden laid=$1/laid path

	# shellcheck disable=SC2086 # one each
	boot_has systemd $2 || return
	rm -rf "$dir"
	mkdir -p "$laid"
	for path in /* /usr/local /usr/sbin/policy-rc.d \
		/etc/{systemd/system,apt/apt.conf.d,fstab,machine-id,resolv.conf} /etc/rc[0-6S].d /var/* /var/lib/*; do
		case $path in
		/bin | /sbin | /lib* | /usr | /etc | /var | /var/lib) ;;
		/var/lib/dpkg | /var/lib/apt | /var/lib/systemd | /var/lib/pam | /var/lib/ucf) ;;
		*)
			if [[ -e $path || -L $path ]]; then
				mkdir -p "$hidden${path%/*}"
				mknod "$hidden$path" c 0 0
			fi
			;;
		esac
	done
	(
		cd "$laid" || exit
		mkdir -p dev proc sys run home media mnt opt srv usr/local/{bin,sbin,lib,share} etc/systemd/system/multi-user.target.wants \
			var/{backups,local,opt,spool} var/cache/apt/archives/partial var/log/apt etc/apt/apt.conf.d var/lib/{misc,dbus}
		mknod -m 666 dev/null c 1 3
		install -d -m 700 root
		install -d -m 1777 tmp var/tmp
		ln -s /run var/run
		ln -s /run/lock var/lock
		: >etc/fstab
		: >etc/machine-id
		: >etc/resolv.conf
		for path in $2; do
			if id "${path%-*}" >/dev/null 2>&1; then
				install -d -m 750 -o "${path%-*}" -g "${path%-*}" "var/lib/${path%-*}" "var/log/${path%-*}"
			fi
		done
		for path in $3; do
			ln -s "/lib/systemd/system/$path" "etc/systemd/system/multi-user.target.wants/$path"
		done
	) || return
	boot_quiet "$laid"
}

# Packages that are installed here.
boot_has() {
	local package

	for package; do
		if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
			echo "package $package is not installed here: apt-get install $package" >&2
			return 1
		fi
	done
}

# Control groups of our own in every hierarchy, since nspawn makes its own below.
boot_groups() {
	local hierarchy

	for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
		if [[ -e $hierarchy/cgroup.procs ]]; then
			printf '%s\n' "$hierarchy/$1"
		fi
	done
}

# $1 name, then a command: runs it with namespaces for mounts and processes, where all of it
# dies when this shell or the command does.
boot_alone() {
	local label=$1 group status=0

	shift
	setpriv --pdeathsig TERM unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
		-- "$@" || status=$?
	for group in $(boot_groups "$label"); do
		if [[ -d $group ]]; then
			find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
		fi
	done
	return "$status"
}

# The rest is for such a command -------------------------------------------

# $1 the root file system; from here on it is $boot_tree, to be written to.
boot_copy() {
	local lower=$1

	boot_memory=$(realpath "$1").memory
	mkdir -p "$boot_memory"
	mount -t tmpfs tmpfs "$boot_memory"
	mkdir "$boot_memory/upper" "$boot_memory/work" "$boot_memory/tree"
	boot_tree=$boot_memory/tree
	if [[ -d $1/hidden ]]; then
		# layers may not lie within one another
		cp -a "$1/laid" "$1/hidden" "$boot_memory"
		lower=$boot_memory/laid:$boot_memory/hidden:/
	fi
	mount -t overlay overlay -o "lowerdir=$lower,upperdir=$boot_memory/upper,workdir=$boot_memory/work" "$boot_tree"
}

# $1 name.  Boots $boot_tree, now and whenever it wants to be booted again.
boot_start() {
	local label=$1

	mkdir -p /run/systemd/nspawn
	mount -t tmpfs tmpfs /run/systemd/nspawn
	(
		for group in $(boot_groups "$label"); do
			mkdir -p "$group"
			echo 0 >"$group/cgroup.procs"
		done
		while :; do
			SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --boot --machine="$label" \
				--directory="$boot_tree" --register=no --keep-unit --private-network \
				--link-journal=no --resolv-conf=off --timezone=off --console=pipe \
				--capability=CAP_BPF,CAP_SYS_RESOURCE --system-call-filter='bpf @resources' \
				</dev/null >>"$boot_memory/console" 2>&1
			# 133: it wants to be booted again
			[[ $? == 133 ]] || break
		done
	) &
	boot_pid=$!
	boot_wait
}

# Its first process, as seen from here.
boot_leader() {
	local nspawn

	nspawn=$(pgrep -P "$boot_pid" -x systemd-nspawn) && pgrep -P "$nspawn" | head -n 1
}

# Until it is up; "degraded" is up as well.
boot_wait() {
	local i

	for ((i = 0; i < 300; i++)); do
		if boot_run test -S /run/systemd/private 2>/dev/null; then
			boot_run systemctl is-system-running --wait >/dev/null 2>&1 || true
			return 0
		fi
		sleep 0.1
	done
	tail -n 20 "$boot_memory/console" >&2
	return 1
}

# A command inside.
boot_run() {
	local leader

	leader=$(boot_leader) || return 125
	nsenter -t "$leader" -m -u -i -n -p -C -r -w -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"
}

# A file from here, $1, to $2 inside.
boot_push() {
	# shellcheck disable=SC2016 # the inner shell expands it
	boot_run sh -c 'cat >"$1"' sh "$2" <"$1"
}

boot_again() {
	local before

	before=$(boot_leader)
	boot_run systemctl reboot --no-wall || true
	for ((i = 0; i < 300; i++)); do
		[[ $(boot_leader) == "$before" ]] || break
		sleep 0.1
	done
	boot_wait
}

boot_stop() {
	boot_run systemctl poweroff --no-wall 2>/dev/null || true
	wait "$boot_pid"
}
