#!/bin/sh
### BEGIN INIT INFO
# Provides:          godwit-recover
# Required-Start:    $local_fs
# Required-Stop:
# X-Start-Before:    @APPLICATION@
# Default-Start:     S 2 3 4 5
# Default-Stop:
# Short-Description: finishes an update that a power cut interrupted
### END INIT INFO
# Written by Godwit.
name=godwit-recover order=03

@ENABLE@
case $1 in
start | boot)
	[ -e @CONFIG@ ] || exit 0
	@RECOVER_SELF@
	@BINARY@ recover --config @CONFIG@
	code=$?
	[ $code -eq 7 ] && code=0 # a version on trial was taken back
	exit $code
	;;
stop | shutdown | restart | reload | status) ;;
enable) at_boot ;;
disable) not_at_boot ;;
*)
	echo "usage: $0 start|stop|status|enable|disable" >&2
	exit 2
	;;
esac
