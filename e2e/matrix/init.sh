#!/bin/busybox sh
# The first and only process of the machines that kernels.sh boots: it runs each
# suite, and reports on the console. The kernel's command line sets TEST_TIMEOUT.
/bin/busybox --install -s /bin
mkdir -p /sbin /etc
ln -s /bin/busybox /sbin/modprobe
export PATH=/usr/bin:/bin HOME=/tmp GOTRACEBACK=all
export CHAOS_AGENT=/bin/kube-vmap CHAOS_SECONDS=20
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
echo 'root:x:0:0:root:/tmp:/bin/sh' >/etc/passwd
ip link set lo up
release=$(uname -r)
echo "KERNEL $release"
depmod
# Not sctp: the tests speak SCTP by raw sockets, and the kernel's own would answer
# beside them. Conntrack and NAT of SCTP need no module.
for module in nf_tables nf_conntrack nf_conntrack_netlink nf_nat veth bridge br_netfilter \
	ip_vs ip_vs_rr ip_set ip_set_hash_ip dummy; do
	modprobe $module || echo "no module $module"
done

# finish NAME STATUS LOG SECONDS prints a suite's result, and its log if it failed.
finish() {
	if [ "$2" = 0 ]; then
		echo "RESULT $1 PASS ${detail:-$(count PASS "$3") passed$(skipped "$3"), $4 s}"
		return
	fi
	failures "$3" | head -n 500
	echo "RESULT $1 FAIL ($(count PASS "$3") passed, $(count FAIL "$3") failed, status $2)"
}

# failures LOG prints what tests that failed said, and what a panic or a function
# of this file did.
failures() {
	awk '/^=== / { next }
		/^--- (PASS|SKIP)/ { said = ""; next }
		{ said = said $0 "\n" }
		END { printf "%s", all said }
		/^--- FAIL/ { all = all said; said = "" }' "$1"
}

# count RESULT LOG counts tests.
count() { grep -c -e "^ *--- $1" "$2"; }

skipped() {
	n=$(count SKIP "$1")
	[ "$n" = 0 ] || echo ", $n skipped"
}

# agent runs kube-vmap itself: it must serve the examples, and must find its
# table again; or say that the kernel is too old.
agent() {
	if ! new_enough; then
		detail="refuses: too old"
		kube-vmap run --manifests /src/examples/demo --node-name demo-node 2>&1 |
			grep "the kernel is too old: it is $release, and must be 5.13 or newer"
		return
	fi
	start_agent || return
	nft list table inet kube-vmap >/tmp/first || return
	detail="serves, and finds its table again"
	owned=no
	grep -q owner /tmp/first && owned=yes
	echo "OWNED $owned" >/dev/console
	kill -9 $!
	start_agent || return
	nft list table inet kube-vmap >/tmp/second
	diff /tmp/first /tmp/second
	kill $!
	wait $!
}

# new_enough reports whether the kernel is 5.13 or newer.
new_enough() {
	major=${release%%.*}
	minor=${release#*.}
	minor=${minor%%.*}
	[ "$major" -gt 5 ] || [ "$minor" -ge 13 ]
}

start_agent() {
	kube-vmap run --manifests /src/examples/demo --node-name demo-node &
	for _ in $(seq 300); do
		wget -q -O - http://127.0.0.1:10256/readyz 2>/dev/null && return
		kill -0 $! || return
		sleep 0.1
	done
	return 1
}

# run_tests LOG PACKAGE ARGUMENTS... runs a package's tests.
run_tests() {
	log=$1 binary=/tests/$(echo "$2" | tr / -).test
	cd "/src/$2" || exit
	shift 2
	: >"$log"
	tail -f "$log" | grep '^--- ' & # the console tells how far it is
	"$binary" -test.v -test.timeout "$TEST_TIMEOUT" "$@" >"$log" 2>&1
	ended=$?
	killall tail
	return $ended
}

# suite PACKAGE ARGUMENTS... runs a package's tests, and those once more that fail:
# they give the kernel the time that a real machine needs, not an emulated one.
suite() {
	run_tests /tmp/log "$@" && return
	ended=$? failed=$(sed -n 's/^--- FAIL: \([^ ]*\) .*/\1/p' /tmp/log)
	[ -n "$failed" ] || return $ended
	failures /tmp/log | head -n 300
	run_tests /tmp/again "$@" -test.run "^($(echo $failed | tr ' ' '|'))\$" || return
	detail="$(count PASS /tmp/log) passed$(skipped /tmp/log), then $(echo $failed | wc -w) at a second try"
}

while read -r name package arguments; do
	echo "BEGIN $name"
	start=$(cut -d. -f1 /proc/uptime) detail="" log=/tmp/log
	if [ "$package" = - ]; then
		$name >/tmp/log 2>&1
		status=$?
	elif new_enough; then
		# shellcheck disable=SC2086 # a list of arguments
		suite "$package" $arguments
		status=$?
	else
		echo "RESULT $name not run"
		continue
	fi
	finish "$name" $status "$log" $(($(cut -d. -f1 /proc/uptime) - start))
done </tests/suites
poweroff -f
