#!/usr/bin/env bash
# Tries the packages where they are meant to be used: installed, upgraded,
# removed and purged on a Debian made for it, on which systemd runs; with rpm;
# and with OpenRC. Needs root, and says what it cannot do here. It changes
# nothing on the machine but a temporary folder. About four minutes.
set -euo pipefail
cd "$(dirname "$0")"
began=$SECONDS done=0 known=0

say()  { printf '\n=== [%ss] %s\n' "$((SECONDS - began))" "$*"; }
skip() { printf '\n=== SKIPPED: %s\n' "$*"; }
bad()  { echo "WRONG: $*" >&2; exit 1; }
# ok WHAT COMMAND… is right if the command is; no, if it is not.
ok() { local what=$1; shift; if "$@" >"$W/last" 2>&1; then echo "  ✓ $what"; done=$((done + 1)); else cat "$W/last"; what_happened; bad "$what: $*"; fi; }
no() { local what=$1; shift; if "$@" >"$W/last" 2>&1; then cat "$W/last"; bad "$what: $*"; else echo "  ✓ $what"; done=$((done + 1)); fi; }
# soon is ok within 40 seconds.
soon() {
	local what=$1 n=0; shift
	until "$@" >"$W/last" 2>&1; do
		n=$((n + 1))
		[ $n -lt 160 ] || { cat "$W/last"; what_happened; bad "not within 40 s: $what: $*"; }
		sleep 0.25
	done
	echo "  ✓ $what"; done=$((done + 1))
}
what_happened() { [ -z "${P:-}" ] || on journalctl --no-pager -n 60 -u 'godwit-*' -u station || :; }

if [ "$(id -u)" != 0 ]; then skip "the packages are not tried: not root"; exit 0; fi
for p in debootstrap dpkg-deb unshare nsenter git; do
	command -v $p >/dev/null || { skip "the packages are not tried: there is no $p"; exit 0; }
done
[ "$(uname -m)" = x86_64 ] || { skip "the packages are not tried: this is no amd64"; exit 0; }

W=$(mktemp -d /tmp/godwit-try.XXXXXX) P='' U=''
end() {
	[ -z "$U" ] || kill -9 "$U" 2>/dev/null || :
	# What was started within the roots, and nothing else.
	for p in /proc/[0-9]*; do
		case $(readlink "$p/root" 2>/dev/null) in "$W"/*) kill -9 "${p#/proc/}" 2>/dev/null || : ;; esac
	done
	grep " $W/" /proc/mounts | cut -d' ' -f2 | sort -r | while read -r m; do umount -l "$m"; done || :
	rm -rf --one-file-system "$W"
}
trap end EXIT

say "two versions of Godwit, and packages of both"
build() { # VERSION BROKEN FILE
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$3" \
		-ldflags "-s -w -X main.broken=$2 -X github.com/godwit-ota/godwit/internal/cli.Version=$1" ./standin
}
go build -o "$W/dist" .
for v in 0.9.0 0.9.1; do
	mkdir "$W/$v"
	build v$v "" "$W/$v/godwit-linux-amd64"
	"$W/dist" -version v$v -epoch 1700000000 -binaries "$W/$v" -out "$W/$v" >/dev/null
done
build v1.0.0 "" "$W/own"
build v1.1.0 crash "$W/broken"

say "a Debian"
# The mirror that this machine uses itself.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m1 '/debian/\?$' || echo http://deb.debian.org/debian)
[ -d "${GODWIT_TRY_ROOT:-}" ] && cp -a "$GODWIT_TRY_ROOT" "$W/root" || # made before, to save time
	debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,git,ca-certificates bookworm "$W/root" "$mirror" >"$W/log" 2>&1 ||
	{ tail -3 "$W/log"; skip "the packages are not tried: debootstrap cannot reach $mirror"; exit 0; }
R=$W/root
cp -a "$R" "$W/openrc"
in_root() { chroot "$R" "$@"; }

say "dpkg: no configuration"
cp "$W"/0.9.0/*.deb "$R/old.deb" && cp "$W"/0.9.1/*.deb "$R/new.deb"
ok "installed" in_root dpkg -i /old.deb
ok "it is v0.9.0" grep -q v0.9.0 <(in_root godwit version)
no "not enabled" in_root systemctl is-enabled godwit-agent.service
for f in /usr/share/man/man1/godwit.1.gz /usr/share/bash-completion/completions/godwit /usr/share/zsh/site-functions/_godwit \
	/usr/share/fish/vendor_completions.d/godwit.fish /usr/lib/systemd/system/godwit-recover.service /usr/share/doc/godwit/copyright \
	/etc/godwit/godwit.toml.example; do
	ok "there is $f" test -s "$R$f"
done
echo "# mine" >>"$R/etc/godwit/godwit.toml.example"
ok "upgraded" in_root dpkg -i /new.deb
ok "it is v0.9.1" grep -q v0.9.1 <(in_root godwit version)
ok "what was edited is still so" grep -q "# mine" "$R/etc/godwit/godwit.toml.example"
ok "purged" in_root dpkg -P godwit
no "/etc/godwit is gone" test -e "$R/etc/godwit"
no "and the program" test -e "$R/usr/bin/godwit"

say "dpkg: a device with a configuration"
git_in() { in_root git -C /srv/repos/"$1" -c user.name=x -c user.email=x@example.org "${@:2}"; }
release() { git_in "$1" add -A && git_in "$1" commit -qm "$2" && git_in "$1" tag -am "Release $2" "$2"; }
mkdir -p "$R/etc/godwit" "$R/srv/repos/station" "$R/srv/repos/builds"
git_in station init -q && git_in builds init -q
printf '#!/bin/sh\necho this is 1\nexec sleep 1000000\n' >"$R/srv/repos/station/run" && chmod 755 "$R/srv/repos/station/run"
release station v1.0.0
cat >"$R/etc/godwit/godwit.toml" <<END
[source]
url = "/srv/repos/station"
channel = "stable"
[trust]
mode = "none"
[tree]
root = "/srv/station"
[hooks]
post_switch = "if touch /etc/outside; then exit 1; fi; touch /srv/station/hook-ran"
[restart]
unit = "station.service"
[confirm]
unit = "station.service"
stable = "2s"
END
cat >"$R/etc/systemd/system/station.service" <<END
[Service]
ExecStart=/srv/station/current/run
END
ok "installed" in_root dpkg -i /old.deb
ok "the agent is enabled" in_root systemctl is-enabled godwit-agent.service
ok "so is recovery" in_root systemctl is-enabled godwit-recover.service

say "systemd runs it"
cat >"$W/boot" <<'END'
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys"
mount -t cgroup2 none "$1/sys/fs/cgroup"
for d in run tmp dev; do mount -t tmpfs tmpfs "$1/$d"; done
for d in null zero random urandom full tty; do touch "$1/dev/$d"; mount --bind "/dev/$d" "$1/dev/$d"; done
mkdir "$1"/dev/{pts,shm,mqueue,hugepages}
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"
ln -s /proc/self/fd "$1/dev/fd"
cd "$1" && mkdir -p old && pivot_root . old && umount -l /old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
END
on() { nsenter -t "$P" -p -m -u -i -n -- "$@"; }
setsid unshare --pid --mount --uts --ipc --net --fork --kill-child bash "$W/boot" "$R" >"$W/boot.log" 2>&1 </dev/null &
U=$!
for _ in $(seq 80); do
	P=$(tr -d ' ' <"/proc/$U/task/$U/children") || :
	if [ -n "$P" ] && on systemctl is-active -q basic.target >/dev/null 2>&1; then break; fi
	sleep 0.25
done
if ! on systemctl is-active -q basic.target; then
	cat "$W/boot.log"
	skip "systemd does not run in namespaces of this machine"
	P=''
fi
if [ -n "$P" ]; then
	status() { on godwit status --json "${@:2}" | grep -q "$1"; }
	active() { on systemctl is-active -q "$1"; }
	pid() { on systemctl show -p MainPID --value "$1"; }
	other() { [ "$(pid "$1")" != "$2" ] && active "$1"; }
	soon "the agent has said READY" active godwit-agent.service
	on godwit check --now >/dev/null 2>&1 || : # what comes of it counts
	soon "it has started the application" active station.service
	ok "recovery ran before" active godwit-recover.service
	soon "the hook could write to the tree" on test -e /srv/station/hook-ran
	no "and not to /etc" on test -e /etc/outside
	soon "v1.0.0 is confirmed" status '"trial":null'

	was=$(pid station.service) was_agent=$(pid godwit-agent.service)
	sed -i 's/this is 1/this is 2/' "$R/srv/repos/station/run" && release station v1.1.0
	on godwit check --now >/dev/null 2>&1 || :
	soon "the application was restarted, through the sandbox" other station.service "$was"
	ok "it is v1.1.0" on grep -q "this is 2" /srv/station/current/run

	ok "reloaded" on systemctl reload godwit-agent.service
	sleep 1
	if [ "$(on systemctl is-active godwit-agent.service)" = active ] && [ "$(pid godwit-agent.service)" = "$was_agent" ]; then
		echo "  ✓ and it is the same process"
	else
		echo "  ✗ NOT RIGHT YET: after SIGHUP systemd says $(on systemctl is-active godwit-agent.service) of the agent"
		known=$((known + 1))
		on systemctl kill -s KILL godwit-agent.service
		on systemctl restart godwit-agent.service
	fi

	was=$(pid godwit-agent.service)
	on sh -c "kill -9 $was"
	soon "killed, it is started again" other godwit-agent.service "$was"

	was=$(pid godwit-agent.service) station=$(pid station.service)
	ok "upgraded" on dpkg -i /new.deb
	soon "the upgrade restarted the agent" other godwit-agent.service "$was"
	ok "and not the application" test "$(pid station.service)" = "$station"
	ok "it is v0.9.1" grep -q v0.9.1 <(on godwit version)

	say "systemd: Godwit updates itself"
	sed -e 's#^url = .*#url = "/srv/repos/builds"#' -e 's#"signed"#"none"#' -e '/^allowed_signers/d; /^product/d' \
		-e 's#godwit-linux-ARCHITECTURE#godwit-linux-amd64#' -e 's#^within = .*#within = "40s"#' "$R/etc/godwit/self.toml.example" >"$R/etc/godwit/self.toml"
	cp "$W/own" "$R/srv/repos/builds/godwit-linux-amd64" && release builds v1.0.0
	ok "the packaged one brings v1.0.0" on systemctl start godwit-self.service
	runs() { on "/proc/$(pid godwit-agent.service)/exe" version | grep -q "$1"; }
	ok "the agent is v1.0.0" runs v1.0.0
	ok "which is confirmed" status '"trial":null' --config /etc/godwit/self.toml
	cp "$W/broken" "$R/srv/repos/builds/godwit-linux-amd64" && release builds v1.1.0
	ok "v1.1.0 is tried" on systemctl start godwit-self.service
	soon "it is broken, and v1.0.0 runs again" runs v1.0.0
	ok "v1.1.0 is not tried again" status '"rejected":\[{.*v1.1.0' --config /etc/godwit/self.toml
	station=$(pid station.service)

	say "systemd: removed"
	ok "removed" on dpkg -r godwit
	no "the agent does not run" active godwit-agent.service
	no "nor is it enabled" on systemctl is-enabled godwit-agent.service
	ok "the application runs on" test "$(pid station.service)" = "$station"
	ok "the configuration is there" on test -e /etc/godwit/godwit.toml
	ok "so is the tree" on grep -q "this is 2" /srv/station/current/run
	ok "so is the record" on test -e /srv/station/.godwit/record.0
	ok "purged" on dpkg -P godwit
	no "the configuration is gone" on test -e /etc/godwit
	ok "the tree is there" on grep -q "this is 2" /srv/station/current/run
	ok "and Godwit's own" on test -e /var/lib/godwit/self/current/godwit-linux-amd64
	kill -9 "$U"
	wait "$U" 2>/dev/null || :
	P='' U=''
fi

say "rpm"
if command -v rpm >/dev/null; then
	mkdir -p "$R/etc/godwit"
	R2=$W/rpm && mkdir "$R2" && cp -a "$R/usr" "$R/etc" "$R/bin" "$R/lib" "$R/lib64" "$R/sbin" "$R2/"
	mkdir -p "$R2/var/lib/rpm" "$R2/tmp" "$R2/dev" && touch "$R2/dev/null"
	rpm_in() { rpm --root "$R2" --nodeps "$@"; }
	ok "installed" rpm_in -i "$W"/0.9.0/*.rpm
	ok "it is v0.9.0" grep -q v0.9.0 <(chroot "$R2" godwit version)
	echo "# mine" >>"$R2/etc/godwit/godwit.toml.example"
	echo "# mine" >"$R2/etc/godwit/godwit.toml"
	ok "upgraded" rpm_in -U "$W"/0.9.1/*.rpm
	ok "it is v0.9.1" grep -q v0.9.1 <(chroot "$R2" godwit version)
	ok "what was edited is still so" grep -q "# mine" "$R2/etc/godwit/godwit.toml.example"
	ok "all files are as they were packed" test -z "$(rpm_in -V godwit | grep -v ' c ')"
	ok "removed" rpm_in -e godwit
	no "the program is gone" test -e "$R2/usr/bin/godwit"
	ok "the configuration is there" test -e "$R2/etc/godwit/godwit.toml"
else
	skip "rpm is not here"
fi

say "OpenRC, with the files of the Alpine package"
R=$W/openrc
cp /etc/resolv.conf "$R/etc/" 2>/dev/null || :
if DEBIAN_FRONTEND=noninteractive chroot "$R" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends openrc' >"$W/log" 2>&1; then
	tar xzf "$W"/0.9.0/*.apk -C "$R" 2>/dev/null
	mount -t proc proc "$R/proc" && mount --bind /dev/null "$R/dev/null"
	mkdir -p "$R/run/openrc" "$R/srv/station" && touch "$R/run/openrc/softlevel"
	printf '[source]\nurl="/srv/none"\nchannel="stable"\n[trust]\nmode="none"\n[tree]\nroot="/srv/station"\n' >"$R/etc/godwit/godwit.toml"
	agent() { # prints the number of the agent's process
		for p in "/proc"/[0-9]*; do
			[ "$(readlink "$p/root" 2>/dev/null)" = "$R" ] && [ "$(readlink "$p/exe")" = "$R/usr/bin/godwit" ] && echo "${p#/proc/}" && return
		done
		return 1
	}
	again() { local n; n=$(agent) && [ "$n" != "$1" ]; }
	ok "recovery runs" chroot "$R" rc-service godwit-recover start
	ok "installed, with a configuration" chroot "$R" sh /.post-install
	ok "it is started at boot" grep -q "godwit-agent.*default" <(chroot "$R" rc-update)
	ok "it runs" chroot "$R" rc-service godwit-agent status
	soon "the agent is there" agent
	was=$(agent)
	ok "woken" chroot "$R" rc-service godwit-agent reload
	kill -9 "$was"
	soon "killed, it is started again" again "$was"
	was=$(agent)
	ok "upgraded" chroot "$R" sh /.post-upgrade
	soon "it was restarted" again "$was"
	ok "removed" chroot "$R" sh /.pre-deinstall
	no "it runs no longer" agent
	no "nor at the next boot" grep -q godwit <(chroot "$R" rc-update)
else
	tail -3 "$W/log"
	skip "openrc cannot be installed"
fi

[ $known = 0 ] || echo "=== NOT RIGHT YET: $known, see above"
say "all the others were right"
echo "$done passed, 0 failed, $known skipped"
