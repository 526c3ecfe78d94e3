# at_boot and not_at_boot make and remove the link by which the device starts this at
# boot: as OpenWrt does, as Debian does, as Buildroot does.
at_boot() {
	not_at_boot
	if [ -d /etc/rc.d ] && [ -e /etc/rc.common ]; then
		ln -s "../init.d/$name" "/etc/rc.d/S$order$name"
	elif command -v update-rc.d >/dev/null; then
		update-rc.d "$name" defaults
	else
		ln -s "$name" "/etc/init.d/S$order$name"
	fi
}

not_at_boot() {
	rm -f "/etc/rc.d/S$order$name" "/etc/init.d/S$order$name"
	if command -v update-rc.d >/dev/null; then update-rc.d "$name" remove; fi
}
