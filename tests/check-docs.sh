#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Holds the documentation to the program: what one of them names, all name.  Prints
# one line for each difference; exit status 1 when there is any.  Needs no root and
# changes nothing.
#
#	tests/check-docs.sh [PROGRAM]

set -uo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=$(realpath "${1:-$root/sentinel-vip}")
cd "$root" || exit 2
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

readonly man8=man/sentinel-vip.8 man5=man/sentinel-vip.conf.5
readonly completion=packaging/completion/sentinel-vip.bash
readonly example=examples/sentinel-vip.conf
readonly troubleshooting=docs/troubleshooting.md
readonly prose=(README.md HACKING.md docs/*.md)
differences=0

differs() {
	printf 'check-docs: %s\n' "$*" >&2
	differences=$((differences + 1))
}

# Lines in, a sorted set out.
set_of() {
	grep . | sort -u >"$scratch/$1"
}

# Two such sets.  Empty ones are equal, too, and then a pattern of this script has gone stale.
same() {
	local item

	for item in "$1" "$2"; do
		[[ -s $scratch/$item ]] || differs "nothing found: $item"
	done
	while read -r item; do
		differs "$item is in $1 but not in $2"
	done < <(comm -23 "$scratch/$1" "$scratch/$2")
	while read -r item; do
		differs "$item is in $2 but not in $1"
	done < <(comm -13 "$scratch/$1" "$scratch/$2")
}

# A section of a man page.
section() {
	sed -n "/^\.Sh $2\$/,/^\.Sh /p" "$1"
}

# Options and commands ------------------------------------------------------

options_and_commands() {
	"$program" --help >"$scratch/text"

	grep -oE '(^|[[:space:][|,])(--[a-z-]+|-[A-Za-z])\b' "$scratch/text" |
		grep -oE -- '-.*' | set_of options-of-help
	sed -nE 's/^(usage:)? +sentinel-vip (\[-n\] )?([a-z]+)( .*)?$/\3/p' "$scratch/text" |
		set_of commands-of-help
	sed -nE 's/^  ([a-z]+) \[?MASTER[^ ]*  .*/\1/p' "$scratch/text" | set_of commands-explained-by-help

	section "$man8" OPTIONS | sed -n 's/^\.It Fl //p' | tr -s ' ,' '\n' | sed 's/^/-/' |
		set_of options-of-man
	section "$man8" SYNOPSIS | sed -n 's/^\.Cm //p' | set_of commands-of-man
	sed -nE '/^\.Sh DESCRIPTION/,/^\.Sh OPTIONS/s/^\.Ss ([a-z][a-z ]*)$/\1/p' "$man8" |
		sed 's/ and /\n/g' | set_of commands-explained-by-man

	bash -c '
		. "$0"
		complete_words() {
			COMP_WORDS=(sentinel-vip "$@") COMP_CWORD=$# COMPREPLY=()
			_sentinel_vip
		}
		complete_words ""
		commands=("${COMPREPLY[@]}")
		printf "%s\n" "${commands[@]}" >"$1/commands"
		for command in "" "${commands[@]}"; do
			complete_words ${command:+"$command"} -
			printf "%s\n" "${COMPREPLY[@]}"
		done >"$1/options"
	' "$completion" "$scratch"
	set_of options-of-completion <"$scratch/options"
	set_of commands-of-completion <"$scratch/commands"

	same options-of-help options-of-man
	same options-of-help options-of-completion
	same commands-of-help commands-explained-by-help
	same commands-of-help commands-of-man
	same commands-of-help commands-explained-by-man
	same commands-of-help commands-of-completion
}

masters_are_completed() {
	local found

	printf 'announce = none\n[one]\nvip = 10.0.0.1\n  [two.a-b_c] # comment\n' >"$scratch/conf"
	# shellcheck disable=SC2016 # the inner shell expands it
	found=$(SENTINEL_VIP_CONFIG=$scratch/conf bash -c '
		. "$0"
		COMP_WORDS=(sentinel-vip sync "") COMP_CWORD=2
		_sentinel_vip
		echo "${COMPREPLY[@]}"' "$completion")
	[[ $found == "one two.a-b_c" ]] || differs "$completion completes the masters to: $found"
}

# Configuration -------------------------------------------------------------

configuration_keys() {
	sed -nE 's/^\t\{ "([a-z-]+)", (true|false), .*/\1/p' keys.c | set_of keys-of-code
	sed -nE 's/^\.It Cm ([a-z-]+) No = .*/\1/p' "$man5" | set_of keys-of-man
	sed -nE 's/^#?([a-z-]+) = .*/\1/p' "$example" | set_of keys-of-example
	same keys-of-code keys-of-man
	same keys-of-code keys-of-example
}

# As it is, and with all that is commented out: a plan that needs neither root nor a network.
example_is_accepted() {
	local file=$scratch/sentinel-vip.conf auth=$scratch/auth

	(
		umask 077
		printf 'user = vip\npassword = secret\n' >"$auth"
	)
	cp "$example" "$file"
	chmod 644 "$file"
	accepts "as it is"
	sed -E "s/^#([a-z])/\1/; s|^(sentinel-auth = ).*|\1$auth|" "$example" >"$file"
	accepts "with its comments taken away"
}

accepts() {
	local said

	said=$(SENTINEL_VIP_CONFIG=$scratch/sentinel-vip.conf "$program" --dry-run release mymaster 2>&1) ||
		differs "$example is refused $1: $said"
}

environment() {
	grep -hoE 'getenv\("[A-Z_]+"' ./*.c | cut -d '"' -f 2 | set_of environment-of-code
	section "$man8" ENVIRONMENT | sed -n 's/^\.It Ev //p' | set_of environment-of-man
	same environment-of-code environment-of-man
	grep -oE '(variable|list_of\(plan,)[( ]"[A-Z_]+"' hook.c | cut -d '"' -f 2 | set_of facts-of-hook
	section "$man5" HOOKS | sed -n 's/^\.It Ev //p' | set_of facts-of-man
	same facts-of-hook facts-of-man
}

# Messages ------------------------------------------------------------------

# What DIAGNOSTICS quotes must be in the code; words in capitals stand for what varies.
messages() {
	local message pattern

	cat ./*.c | tr '\n' ' ' | sed -E 's/"[[:space:]]*"//g' >"$scratch/code"
	section "$man8" DIAGNOSTICS | sed -n '/^\.Ss /,$p' | cat - <(section "$man5" DIAGNOSTICS) |
		sed -nE 's/^\.It Li "(.*)"$/\1/p' >"$scratch/messages"
	[[ -s $scratch/messages ]] || differs "nothing found: messages of the man pages"
	while IFS= read -r message; do
		# shellcheck disable=SC2016 # no expansion is meant
		pattern=$(sed -E 's/FROM-IP or TO-IP/SIDE/; s/^FILE, line N: //
			s/[].\\*^$()+?{|[]/\\&/g
			s/\b(NAME|ADDRESS|FILE|HOST|SIDE|KEY|MAC|REASON|N|[0-9]{2,})\b/(\1|%[.0-9]*[a-z])/g' <<<"$message")
		grep -qE -- "$pattern" "$scratch/code" || differs "no message of the program: $message"
	done <"$scratch/messages"
}

# Files ---------------------------------------------------------------------

# The map in HACKING.md, against what there is and against the floors of vip.h.
map() {
	local floor files file

	# shellcheck disable=SC2016 # no expansion is meant
	sed -nE 's/^\| [0-9]+ \| (`.*`) \| .*/\1/p' HACKING.md | grep -oE '[a-z-]+\.c' | set_of files-of-map
	printf '%s\n' *.c | set_of files-of-tree
	same files-of-map files-of-tree
	while IFS=: read -r floor files; do
		while read -r file; do
			grep -qE "^\| $floor \|.*\`$file\`" HACKING.md ||
				differs "$file is on floor $floor in vip.h but not in HACKING.md"
		done < <(grep -oE '[a-z-]+\.c' <<<"$files")
	done < <(sed -nE 's|^/\* Floor ([0-9]+): (.*)|\1:\2|p' vip.h)
}

# Everything else -----------------------------------------------------------

# Targets after "make" in code, and paths of files of the tree.
names_exist() {
	local file name

	for file in "${prose[@]}"; do
		while read -r name; do
			grep -qE "^([a-z-]+ )*$name( [a-z-]+)*:" Makefile tests/*.mk || differs "$file names make $name"
		done < <(grep -oE '(^ {4}|`|[$#] )(sudo )?make [a-z][a-z-]*' "$file" | sed 's/.*make //' | sort -u)
	done
	for file in "${prose[@]}" "$man8" "$man5" packaging/systemd/* examples/* examples/*/*; do
		[[ -f $file ]] || continue
		while read -r name; do
			[[ -e $name ]] || differs "$file names $name"
		done < <(grep -oE '\b(man|tests|examples|packaging)/[A-Za-z0-9._/-]*[A-Za-z0-9]' "$file" | sort -u)
	done
	for name in demo check examples; do
		grep -q "sudo make $name" README.md || differs "README.md does not name sudo make $name"
	done
}

# What the documents link to, down to the heading.
links() {
	local file link target heading

	while IFS=: read -r file link; do
		target=${file%/*}/${link%%#*}
		[[ $link != \#* ]] || target=$file
		[[ -f $target ]] || differs "$file links to $link"
		heading=${link#*#}
		[[ $link == *#* && -f $target ]] || continue
		sed -n 's/^#* *//p' "$target" | tr 'A-Z ' 'a-z-' | sed 's/[^a-z0-9_-]//g' | grep -xF -- "$heading" >/dev/null ||
			differs "$file links to $link, which is no heading there"
	done < <(grep -oE '\]\([^):]+\)' ./*.md docs/*.md examples/*.md examples/*/*.md | sed -E 's/\]\((.*)\)$/\1/')
}

# Every symptom names the tests that make it happen, and they are there.
symptoms() {
	local row file test

	# a chapter heading, or one that has a line of tests before the next
	awk '/^### /{ if (open) print open; open = $0 }
		/^## /{ if (open) print open; open = "" }
		/^<sub>`/{ open = "" }
		END { if (open) print open }' "$troubleshooting" >"$scratch/untested"
	while read -r row; do
		differs "$troubleshooting names no test for: $row"
	done <"$scratch/untested"
	grep -oE '^<sub>.*</sub>$' "$troubleshooting" | sed -E 's/<[^>]*>//g; s/; /\n/g' >"$scratch/symptoms"
	[[ -s $scratch/symptoms ]] || differs "nothing found: tests of $troubleshooting"
	while IFS=: read -r file row; do
		file=tests/${file//\`/}
		while read -r test; do
			grep -qE "^static void $test\(void \*\*" "$file" || differs "$troubleshooting: no $test in $file"
		done < <(grep -oE '[a-z_0-9]+' <<<"$row")
	done <"$scratch/symptoms"
}

version() {
	local number

	number=$(sed -nE 's/^VERSION = (.*)/\1/p' Makefile)
	[[ $("$program" --version) == "sentinel-vip $number" ]] || differs "--version is not that of the Makefile"
	grep -qF "## [$number]" CHANGELOG.md || differs "CHANGELOG.md has no section [$number]"
}

lint() {
	local said unit

	if command -v mandoc >/dev/null; then
		mandoc -Tlint -W warning "$man8" "$man5" >&2 || differs "mandoc finds fault with the man pages"
	else
		echo "check-docs: mandoc is not installed: the man pages are not linted"
	fi
	if command -v systemd-analyze >/dev/null; then
		for unit in packaging/systemd/*; do
			sed -E "s#^ExecStart=[^ ]*#ExecStart=$program#" "$unit" >"$scratch/$(basename "$unit")"
		done
		cp "$scratch/sentinel-vip@.service" "$scratch/sentinel-vip@1.service"
		# it says of what it does not understand that it ignores it, and ends with 0
		said=$(systemd-analyze verify --man=no "$scratch"/sentinel-vip{.slice,.socket,@1.service,-sync.service,-sync.timer,-first.path} 2>&1) ||
			differs "systemd-analyze finds fault with the units"
		said=$(grep sentinel-vip <<<"$said") && differs "systemd-analyze: $said"
	fi
}

options_and_commands
masters_are_completed
configuration_keys
example_is_accepted
environment
messages
map
names_exist
links
symptoms
version
lint
if ((differences > 0)); then
	exit 1
fi
echo "check-docs: the documentation and the program agree"
