# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of the files that source this one
#
# What the examples show: a row for each thing that happens, and whether it was to happen.
# Starts and changes nothing.

colours() {
	off='' bold='' dim='' red='' green='' yellow='' blue='' magenta='' cyan=''
	width=0
	[[ -t 1 ]] || return 0
	{ read -r _ width < <(stty size <&4 2>/dev/null) || width=0; } 4>&1
	((${width:-0} >= 60)) || width=0
	[[ -z ${NO_COLOR-} && ${TERM-dumb} != dumb ]] || return 0
	off=$'\e[0m' bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m'
	blue=$'\e[34m' magenta=$'\e[35m' cyan=$'\e[36m'
}

now_ms() {
	now=$((${EPOCHREALTIME//[!0-9]/} / 1000))
}

# What stands in each row between the seconds and who says it, and how wide that is.
columns='' columns_width=0
state_columns() {
	:
}

# One row: who says it, in which colour, and what.  Folded between words on a terminal.
row() {
	local who=$1 colour=$2 text=$3 room=$((width - 29 - columns_width)) part margin

	now_ms
	state_columns
	printf '%s%8.3f%s  %s%s%-18s%s' "$dim" "$((now - started))e-3" "$off" "$columns" "$colour" "$who" "$off"
	margin=$'\n'$(printf '%*s' "$((28 + columns_width))" '')
	while ((width && ${#text} > room)); do
		part=${text:0:room+1}
		[[ $part == *' '* ]] && part=${part% *} || part=${text:0:room}
		printf '%s%s%s%s' "$colour" "$part" "$off" "$margin"
		text=${text:${#part}}
		text=${text# }
	done
	printf '%s%s%s\n' "$colour" "$text" "$off"
}

heading() {
	printf '\n%s%s%s\n' "$bold" "$1" "$off"
	shift
	if (($#)); then
		printf '%s\n' "$@"
	fi
	printf '\n'
}

say() {
	row example "$dim" "$*"
}

# What somebody breaks.
blow() {
	row example "$bold$red" "$*"
}

#
# What happens: lines "KIND HOST TEXT" from all that is followed
#

# One column for each host, of what the rows imply: who says who is master, who holds what.
declare -A says=() holds=() marks=()
# how often an address has left a host, and how often the writer was refused
declare -A gone=()
lost=0
neighbour='' half='' total='' step_at=0

# For sums: what follows is told apart, and moments count from here.
step() {
	now_ms
	step_at=$now
	marks=([silence]=0 [gone]=0)
}

# The milliseconds since the step began, of the first time only.
mark() {
	now_ms
	[[ -n ${marks[$1]-} ]] || marks[$1]=$((now - step_at))
}

# A host has a name; where it has several servers, each may have its own.
server_name() {
	echo "${name_of[${1:-none}:$2]-${name_of[${1:-none}]-$1}}"
}

# Sentinel's own log, of which this understands what matters here.
event_sentinel() {
	local host=$1 text=$2 what who rest name of at port

	[[ $text =~ \ [#*]\ ([+-][a-z-]+)\ ?(.*)$ ]] || return 0
	what=${BASH_REMATCH[1]} rest=${BASH_REMATCH[2]}
	# "slave 10.0.0.1:6379 10.0.0.1 6379 @ NAME ..." or "master NAME 10.0.0.1 6379 ..."
	read -r _ name at port _ <<<"$rest"
	who=$(server_name "$at" "$port")
	read -r of _ <<<"${rest##*@ }"
	case $what in
	+sdown) [[ $rest == master* ]] || return 0
		row "Sentinel $host" "$yellow" "$name: $who does not answer" ;;
	+odown) row "Sentinel $host" "$yellow" "$name: others agree, the master is down" ;;
	+elected-leader) row "Sentinel $host" "$yellow" "$name: elected to lead the failover" ;;
	+promoted-slave)
		mark promoted
		row "Sentinel $host" "$yellow" "$of: $who is promoted" ;;
	+switch-master)
		read -r name _ _ at port <<<"$rest"
		who=$(server_name "$at" "$port")
		says[$host $name]=$who
		switched "$host" "$name"
		row "Sentinel $host" "$yellow" "$name: the master is $who" ;;
	+convert-to-slave) row "Sentinel $host" "$yellow" "$of: makes $who a replica" ;;
	-script-error) row "Sentinel $host" "$bold$red" "$what $rest" ;;
	esac
}

# An example may want to know at once.
switched() {
	:
}

# `ip monitor address` of a host: the kernel's word on who holds what.
event_address() {
	local host=$1 at

	[[ $2 =~ \ (inet6?)\ ([0-9a-f.:]+)/ ]] || return 0
	at=${BASH_REMATCH[2]}
	[[ -z ${name_of[$at]-} && $at != fe80:* ]] || return 0
	if [[ $2 == Deleted* ]]; then
		unset "holds[$host $at]"
		gone[$at]=$((${gone[$at]-0} + 1))
		row "kernel of $host" "$cyan" "$at is gone from here"
	else
		holds[$host $at]=yes
		mark claimed
		row "kernel of $host" "$cyan" "$at is here"
	fi
}

event_log() {
	row "vip on $1" "$magenta" "$2"
}

# A writer, who calls the servers by their addresses.
event_client() {
	local text=$2 by silence=0

	case $text in
	acknowledged*)
		[[ $text =~ \ by\ ([^ ]+)(\ again\ after\ ([0-9]+)\ ms)? ]] || return 0
		served_by=${name_of[${BASH_REMATCH[1]}]-${BASH_REMATCH[1]}} silence=${BASH_REMATCH[3]:-0}
		((silence <= marks[silence])) || marks[silence]=$silence
		[[ -z ${marks[promoted]-} ]] || mark served
		if ((silence)); then
			row client "$bold$green" "acknowledged by $served_by, after $silence ms without"
		else
			row client "$bold$green" "acknowledged by $served_by"
		fi ;;
	lost:*)
		served_by=''
		# a busy machine is slow to answer, but refuses nobody
		[[ $text == *"no answer"* ]] || lost=$((lost + 1))
		row client "$red" "not acknowledged: ${text#lost: }" ;;
	gone:*)
		[[ $text =~ ([0-9]+) ]]
		marks[gone]=$((marks[gone] + BASH_REMATCH[1]))
		row client "$red" "${BASH_REMATCH[1]} acknowledged writes are gone: the old master took them alone" ;;
	total:*) total=${text#total: } ;;
	*) row client "$green" "$text" ;;
	esac
}
served_by=

event_note() {
	row "$1" '' "$2"
}

# Shows what happens until the command that follows is true, SECONDS at most.
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
		[[ -z $kind ]] || "event_$kind" "$host" "$text"
	done
}

# Shows what happens for so long.
watch_for() {
	watch "$1" false || true
}

#
# Judgement
#

# It must become true within SECONDS; the text says what that means.
expect() {
	local seconds=$1 text=$2
	shift 2
	if watch "$seconds" "$@"; then
		row right "$bold$green" "$text"
	else
		wrong "not within $seconds s: $text"
	fi
}

# It is true now.
sure() {
	local text=$1
	shift
	if "$@"; then
		row right "$bold$green" "$text"
	else
		wrong "not so: $text"
	fi
}

wrong() {
	row WRONG "$bold$red" "$1"
	tell_more
	printf '\n  %sWRONG: %s%s\n\n' "$bold$red" "$1" "$off"
	exit 1
}

# What there is to know when something is wrong.
tell_more() {
	local host

	for host in "${!address[@]}"; do
		printf '\n%s:\n' "$host"
		ip -n "$host" -o -4 address show scope global
		tail -n 6 "$top/$host"/var/log/*.log "$top/$host"/var/log/redis/*.log 2>/dev/null || true
	done
}

# The example could not be shown: nothing is known of the VIP.
give_up() {
	row example "$bold$red" "$1"
	tell_more
	exit 2
}

# At the end of all.
well() {
	printf '\n  %s%s%s\n\n' "$bold$green" "$1" "$off"
}
