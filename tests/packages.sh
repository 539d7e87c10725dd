#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The packages as files: both build, the linters find nothing, the same sources give the
# same bytes, and all three ways of installing install the same.  Prints one line for
# each difference; exit status 1 when there is any.  Needs no root; `make check-package`
# runs it, and installs what was built.

set -uo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 2
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

readonly built=build/package
differences=0

differs() {
	printf 'packages: %s\n' "$*" >&2
	differences=$((differences + 1))
}

# $1 what, then a command whose output is shown only when it fails
quietly() {
	local what=$1

	shift
	"$@" >"$scratch/log" 2>&1 && return
	tail -n 20 "$scratch/log" >&2
	differs "$what"
	return 1
}

build() {
	quietly "make deb fails" make -s deb || exit 1
	quietly "make rpm fails" make -s rpm || exit 1
}

lint() {
	quietly "lintian finds fault" lintian --allow-root --profile debian --pedantic --fail-on error,warning,pedantic \
		"$built"/deb/*.changes
	# it ends with 0 after warnings
	rpmlint -c packaging/rpm/rpmlint.toml "$built"/rpm/RPMS/*/*.rpm "$built"/rpm/SRPMS/*.rpm \
		packaging/rpm/*.spec >"$scratch/log" 2>&1
	grep -q ' 0 errors, 0 warnings,' "$scratch/log" || {
		cat "$scratch/log" >&2
		differs "rpmlint finds fault"
	}
}

# Another place, another day, another user's habits.
reproduce() {
	local copy=$scratch/a/rather/longer/path/sentinel-vip file

	mkdir -p "$copy"
	if git ls-files Makefile >/dev/null 2>&1; then git ls-files -co --exclude-standard -z; else
		find . \( -path ./build -o -path ./.git \) -prune -o -type f -printf '%P\0'
	fi |
		tar -c --null -T - | tar -x -C "$copy"
	find "$copy" -exec touch -h -d '2020-02-02 02:02:02' {} +
	chmod -R go-rwx "$copy"
	(cd "$copy" && umask 077 && quietly "make deb fails elsewhere" env TZ=Pacific/Kiritimati make -s deb) || return
	for file in "$built"/deb/*.{deb,dsc,tar.xz}; do
		cmp -s "$file" "$copy/$file" || differs "not the same bytes when built again: ${file##*/}"
	done
}

# Paths of files, without what a format of packages adds, in the layout of `make install`.
normal() {
	sed -E 's|^\./|/|; s|^/lib/|/usr/lib/|; s|/usr/libexec/|/usr/lib/|; s|\.gz$||
		/\/(LICENSE|copyright|changelog|lintian\/overrides\/.*|.*\.preset)$/d
		/^\/usr\/(lib\/\.build-id|share\/licenses|share\/lintian)/d' | sort
}

install_the_same() {
	local tree=$scratch/tree

	quietly "make install fails" make -s install PREFIX=/usr DESTDIR="$tree" || return
	(cd "$tree" && find . ! -type d) | normal >"$scratch/make"
	dpkg-deb --fsys-tarfile "$built"/deb/sentinel-vip_*.deb | tar -t | grep -v '/$' | normal >"$scratch/deb"
	# directories have a mode that begins with d
	rpm -qplv "$built"/rpm/RPMS/*/sentinel-vip-[0-9]*.rpm | awk '!/^d/ { print $9 }' | normal >"$scratch/rpm"
	grep -q '/sentinel-vip-sync.timer$' "$scratch/make" || differs "make install: no units"
	diff -u "$scratch/make" "$scratch/deb" >&2 || differs "make install and the .deb do not install the same"
	diff -u "$scratch/make" "$scratch/rpm" >&2 || differs "make install and the .rpm do not install the same"
	[[ $(readlink "$tree/usr/sbin/sentinel-vip") == ../lib/sentinel-vip/sentinel-vip ]] ||
		differs "make install: /usr/sbin/sentinel-vip leads to $(readlink "$tree/usr/sbin/sentinel-vip")"
	# the generator looks there as well, whoever installed Sentinel
	if grep -rlI '/usr/local/[^: ]*sentinel-vip' "$tree" --exclude='*.md' --exclude=sentinel-vip-generator >&2; then
		differs "make install PREFIX=/usr: the files above name /usr/local"
	fi

	quietly "make uninstall fails" make -s uninstall PREFIX=/usr DESTDIR="$tree"
	[[ -z $(find "$tree" ! -type d) ]] || differs "make uninstall leaves: $(find "$tree" ! -type d)"
	[[ -z $(find "$tree" -mindepth 1 -name '*sentinel*') ]] || differs "make uninstall leaves directories"

	quietly "make install fails again" make -s install PREFIX=/usr DESTDIR="$tree"
	echo '# mine' >>"$tree/etc/sentinel-vip.conf"
	quietly "make install fails over itself" make -s install PREFIX=/usr DESTDIR="$tree"
	quietly "make uninstall fails" make -s uninstall PREFIX=/usr DESTDIR="$tree"
	grep -q '^# mine' "$tree/etc/sentinel-vip.conf" || differs "a configuration that was changed is not kept"
}

# Each document that is linked to is there as well, whatever a format of packages makes of it.
links_hold() {
	local tree=$scratch/unpacked file link found=0

	mkdir "$tree"
	dpkg-deb -x "$built"/deb/sentinel-vip_*.deb "$tree" || return
	while IFS=: read -r file link; do
		found=$((found + 1))
		[[ -e ${file%/*}/${link%%#*} ]] || differs "the .deb lacks $link, which ${file#"$tree"} names"
	done < <(find "$tree" \( -name '*.md' -o -name '*.md.gz' \) -print0 | xargs -0 zgrep -HoE '\]\([^)#:][^):]*\)' |
		sed -E 's/\]\((.*)\)$/\1/')
	((found > 20)) || differs "nothing found: links of the documents"
}

versions() {
	local number

	number=$(sed -nE 's/^VERSION = (.*)/\1/p' Makefile)
	[[ $(sed -nE '1s/.*\((.*)\).*/\1/p' packaging/debian/changelog) == "$number" ]] ||
		differs "packaging/debian/changelog is not of version $number"
	[[ $(sed -nE 's/^Version: *//p' packaging/rpm/sentinel-vip.spec) == "$number" ]] ||
		differs "packaging/rpm/sentinel-vip.spec is not of version $number"
}

versions
build
lint
reproduce
install_the_same
links_hold
if ((differences > 0)); then
	exit 1
fi
echo "packages: all three ways of installing are well"
