# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of the files that source this one
#
# What the demonstration shows: the picture at the start, a row for each thing
# that happens, and the state that the rows imply.  Starts and changes nothing.

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

# What the client sees, and of each host: M the Sentinels' master, V holds the VIP, x Redis is dead.
state_columns() {
	local host m v

	columns=''
	for host in "${hosts[@]}"; do
		m="$dim-$off" v=' '
		[[ $master != "$host" ]] || m="$bold${green}M$off"
		[[ -z ${dead[$host]} ]] || m="$bold${red}x$off"
		[[ -z ${holds[$host]} ]] || v="$bold${cyan}V$off"
		columns+="$m$v  "
	done
	if [[ -n $served_by ]]; then
		columns+="$green$served_by$off       "
	else
		columns+="$red-$off       "
	fi
}

# One row: who says it, in which colour, and what.  Folded between words on a terminal.
row() {
	local who=$1 colour=$2 text=$3 columns room=$((width - 43)) part margin

	now_ms
	state_columns
	printf '%s%8.3f%s  %s%s%-12s%s' "$dim" "$((now - started))e-3" "$off" "$columns" "$colour" "$who" "$off"
	margin=$'\n'$(printf '%42s' '')
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

legend() {
	cat <<-END

	  ${bold}sentinel-vip: a virtual IP that follows the Redis master$off

	                         ${green}client$off ${address[client]}
	                           |    writes a counter to ${cyan}VIP $vip$off, 200 times a second
	      ---------------------+------- the switch ------------------
	          |                    |                    |
	      ${bold}a$off ${address[a]}         ${bold}b$off ${address[b]}         ${bold}c$off ${address[c]}
	      redis-server         redis-server         redis-server     :6379
	      redis-sentinel       redis-sentinel       redis-sentinel   :26379
	      sentinel-vip         sentinel-vip         sentinel-vip     called by Sentinel

	  The columns a, b, c: ${bold}${green}M$off the master (two of three Sentinels say so), $dim-$off a replica,
	  ${bold}${red}x$off its Redis is dead; ${bold}${cyan}V$off holds the VIP (its kernel says so).  The column client:
	  the host that acknowledged the client's last write, or $red-$off: nobody did.

	$dim seconds  a   b   c   client${off}
	END
}

#
# What happens: lines "KIND HOST TEXT" from all that is followed
#

declare -A says=() holds=() dead=() marks=()
master='' served_by='' neighbour='' total='' half=''

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
	local host=$1 text=$2 what who=${3-} at rest

	[[ $text =~ \ [#*]\ ([+-][a-z-]+)\ ?(.*)$ ]] || return 0
	what=${BASH_REMATCH[1]} rest=${BASH_REMATCH[2]}
	# "slave 10.0.0.1:6379 10.0.0.1 6379 @ ..." or "master NAME 10.0.0.1 6379 ..."
	read -r _ _ at _ <<<"$rest"
	who=${at:+${name_of[$at]-$at}}
	case $what in
	+sdown) [[ $rest == master* ]] || return 0
		row "Sentinel $host" "$yellow" "$who has not answered for $down_after_ms ms" ;;
	+odown) row "Sentinel $host" "$yellow" "others agree: the master is down" ;;
	+elected-leader) row "Sentinel $host" "$yellow" "elected to lead the failover" ;;
	+selected-slave) row "Sentinel $host" "$yellow" "chooses $who" ;;
	+promoted-slave)
		mark promoted
		row "Sentinel $host" "$yellow" "$who is promoted" ;;
	+switch-master)
		read -r _ _ _ at _ <<<"$rest"
		says[$host]=${name_of[$at]}
		count_votes
		row "Sentinel $host" "$yellow" "the master is ${name_of[$at]}" ;;
	+convert-to-slave) row "Sentinel $host" "$yellow" "makes $who a replica" ;;
	-script-error) row "Sentinel $host" "$bold$red" "$what $rest" ;;
	esac
}

# `ip monitor address` of a host: the kernel's word on who holds the VIP.
event_address() {
	local host=$1 text=$2

	[[ $text == *" $vip/"* ]] || return 0
	if [[ $text == Deleted* ]]; then
		holds[$host]=
		row "kernel of $host" "$cyan" "$vip is gone from here"
	else
		holds[$host]=yes
		mark claimed
		row "kernel of $host" "$cyan" "$vip is here"
	fi
}

# `ip monitor neigh` of the client.
event_neighbour() {
	local text=$1

	[[ $text == "$vip "* && $text =~ lladdr\ ([0-9a-f:]+) ]] || return 0
	[[ $neighbour != "${BASH_REMATCH[1]}" ]] || return 0
	neighbour=${BASH_REMATCH[1]}
	row "client" "$blue" "neighbour table: $vip is at $neighbour, ${name_of[$neighbour]-nobody we know}"
}

event_client() {
	local text=$1 host='' silence=0

	case $text in
	acknowledged*)
		[[ $text =~ \ by\ ([0-9.]+)(\ again\ after\ ([0-9]+)\ ms)? ]] || return 0
		host=${name_of[${BASH_REMATCH[1]}]-${BASH_REMATCH[1]}} silence=${BASH_REMATCH[3]:-0}
		served_by=$host
		((silence <= marks[silence])) || marks[silence]=$silence
		[[ -z ${marks[promoted]-} ]] || mark served
		if ((silence)); then
			row client "$bold$green" "acknowledged by $host, after $silence ms without"
		else
			row client "$bold$green" "acknowledged by $host"
		fi ;;
	lost:*)
		served_by=
		row client "$red" "not acknowledged: ${text#lost: }" ;;
	gone:*)
		[[ $text =~ ([0-9]+) ]]
		marks[gone]=$((marks[gone] + BASH_REMATCH[1]))
		row client "$red" "${BASH_REMATCH[1]} acknowledged writes are gone: the old master took them alone" ;;
	total:*) total=${text#total: } ;;
	esac
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
		case $kind in
		sentinel) event_sentinel "$host" "$text" ;;
		address) event_address "$host" "$text" ;;
		neigh) event_neighbour "$text" ;;
		client) event_client "$text" ;;
		log) row "vip on $host" "$magenta" "$text" ;;
		esac
	done
}
