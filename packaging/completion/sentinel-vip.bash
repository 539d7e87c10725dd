# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completion of sentinel-vip for bash: commands, options, and the names of the
# masters in the configuration.  Sentinel's call is not completed; nobody types it.

_sentinel_vip_masters() {
	local line

	while IFS= read -r line; do
		[[ $line =~ ^[[:blank:]]*\[([[:alnum:]._-]+)\] ]] && printf '%s\n' "${BASH_REMATCH[1]}"
	done <"${SENTINEL_VIP_CONFIG:-/etc/sentinel-vip.conf}"
} 2>/dev/null

_sentinel_vip() {
	local IFS=$' \t\n' word=${COMP_WORDS[COMP_CWORD]} command='' options words='' i given=' '

	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == -* ]]; then
			continue
		elif [[ -z $command ]]; then
			command=${COMP_WORDS[i]}
		else
			given+="${COMP_WORDS[i]} "
		fi
	done

	case $command in
	'')
		options='-n --dry-run --serve -h --help -V --version'
		words='sync claim release status check'
		;;
	sync)
		options='-n --dry-run --announce'
		words=$(_sentinel_vip_masters)
		;;
	claim | release)
		options='-n --dry-run'
		# one master, not more
		[[ $given != ' ' ]] || words=$(_sentinel_vip_masters)
		;;
	status)
		options='--json'
		words=$(_sentinel_vip_masters)
		;;
	check)
		options=''
		words=$(_sentinel_vip_masters)
		;;
	*)
		return
		;;
	esac
	[[ $word != -* ]] || words=$options

	COMPREPLY=()
	for i in $words; do
		[[ $i != "$word"* || $given == *" $i "* ]] || COMPREPLY+=("$i")
	done
}

complete -F _sentinel_vip sentinel-vip
