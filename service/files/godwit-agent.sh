#!/bin/sh
### BEGIN INIT INFO
# Provides:          godwit-agent
# Required-Start:    $local_fs godwit-recover
# Required-Stop:     $local_fs
# Should-Start:      $network $syslog dbus
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: keeps this device up to date
### END INIT INFO
# Written by Godwit; settings of your own go into /etc/default/godwit-agent.
name=godwit-agent order=95
run=/run/godwit           # the numbers of the processes
log="logger -t godwit"    # what reads what the agent says
quick=2 slow=60 steady=30 # seconds: first pause, longest pause, what counts as well
[ -r /etc/default/godwit-agent ] && . /etc/default/godwit-agent

@ENABLE@
agent() { exec @EXEC@ agent --config @CONFIG@; }

# alive prints the number in the file $1 if that process is there and its command
# line names $2: numbers are given again after a boot.
alive() {
	[ -r "$1" ] && read -r pid <"$1" && kill -0 "$pid" 2>/dev/null &&
		tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "$2" && echo "$pid"
}

# watch starts the agent again whenever it ends, at once if it ran well, and
# less and less often if it does not: it is never given up.
watch() {
	trap 'kill "$child"; wait "$child"; rm -f "$run/agent.pid" "$run/log"; exit 0' TERM INT
	pause=$quick
	while :; do
		began=$(date +%s)
		rm -f "$run/log"
		mkfifo "$run/log"
		{ $log || cat >/dev/null; } <"$run/log" 2>/dev/null &
		agent >"$run/log" 2>&1 &
		child=$!
		echo "$child" >"$run/agent.pid"
		wait "$child"
		code=$?
		[ $(($(date +%s) - began)) -ge "$steady" ] && pause=$quick
		echo "the agent ended with $code; again in $pause s" | $log 2>/dev/null
		# In the background, so that TERM is heard at once.
		sleep "$pause" &
		child=$!
		wait "$child"
		pause=$((pause * 2))
		[ "$pause" -gt "$slow" ] && pause=$slow
	done
}

# nap is a tenth of a second where sleep knows that, else a second.
nap() { sleep 0.1 2>/dev/null || sleep 1; }

start() {
	if pid=$(alive "$run/watch.pid" "$name"); then
		echo "$name runs already, as $pid"
		return 0
	fi
	if [ ! -e @CONFIG@ ]; then
		echo "$name: there is no configuration" @CONFIG@ >&2
		return 6
	fi
	mkdir -p "$run"
	mkdir -p -- @ROOT@
	# Of a watch that was killed.
	if pid=$(alive "$run/agent.pid" agent); then kill "$pid"; fi
	rm -f "$run/watch.pid" "$run/agent.pid"
	# A session of its own, where there is setsid.
	set -- "$0" watch
	command -v setsid >/dev/null && set -- setsid "$@"
	"$@" </dev/null >/dev/null 2>&1 &
	n=0
	until [ -e "$run/agent.pid" ]; do
		n=$((n + 1))
		if [ $n -gt 50 ]; then
			echo "$name did not start" >&2
			return 1
		fi
		nap
	done
	echo "$name started"
}

stop() {
	if ! pid=$(alive "$run/watch.pid" "$name"); then
		echo "$name does not run"
		return 0
	fi
	child=$(alive "$run/agent.pid" agent)
	kill "$pid"
	n=0
	while kill -0 "$pid" 2>/dev/null; do
		n=$((n + 1))
		# An update that is killed is an update that goes on later.
		[ $n -eq 300 ] && kill -9 "$pid" $child 2>/dev/null
		nap
	done
	rm -f "$run/watch.pid" "$run/agent.pid" "$run/log"
	echo "$name stopped"
}

case $1 in
start | boot) start ;;
stop | shutdown) stop ;;
restart)
	stop
	start
	;;
reload)
	if ! pid=$(alive "$run/agent.pid" agent); then
		echo "$name does not run" >&2
		exit 7
	fi
	kill -HUP "$pid"
	;;
status)
	if alive "$run/watch.pid" "$name" >/dev/null; then
		echo "$name runs; the agent is $(alive "$run/agent.pid" agent || echo "between two starts")"
	else
		echo "$name does not run"
		exit 3
	fi
	;;
watch)
	echo $$ >"$run/watch.pid"
	command -v "${log%% *}" >/dev/null || log="cat"
	watch 2>/dev/null
	;;
enable) at_boot ;;
disable) not_at_boot ;;
*)
	echo "usage: $0 start|stop|restart|reload|status|enable|disable" >&2
	exit 2
	;;
esac
