#!/bin/sh
# Boots stock Debian kernels in qemu's software emulation and runs the kernel tests
# there. The result is a part of docs/compatibility.md.
#
#	e2e/matrix/kernels.sh [KERNEL...]
#
# A KERNEL is a Debian suite, for its current cloud kernel, or SUITE/PACKAGE. Needs
# apt and dpkg-deb, and root only to install qemu-system-x86, busybox-static and
# cpio where they are missing; no KVM. What it downloads stays in bin/kernels.
#
# Environment: SUITES, the suites of tests to run (a line each of suites.txt, by
# name, beside older results of the others); BOOT_SECONDS, how long a machine may take.
set -eu
cd "$(dirname "$0")/../.."
. e2e/matrix/debian.sh
. e2e/matrix/document.sh

kernels=$PWD/bin/kernels
seconds=${BOOT_SECONDS:-3000}
nice="nice -n 19"

# unpack_kernel SUITE[/PACKAGE] sets dir to bin/kernels/PACKAGE, with the kernel and
# the modules of networking in a cpio archive.
unpack_kernel() {
	suite=${1%%/*}
	debian_index "$suite"
	package=${1#"$suite"}
	package=${package#/}
	[ -n "$package" ] || package=$(apt_in "$suite" apt-cache depends --important linux-image-cloud-amd64 |
		sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | tail -n 1)
	dir=$kernels/$package
	[ -e "$dir/modules.cpio" ] && return
	rm -rf "$dir"
	# Newer packages have the kernel and the modules in others.
	parts=$(apt_in "$suite" apt-cache depends --important "$package" | sed -n 's/.*Depends: \(linux-\(binary\|modules\)-[^ ]*\).*/\1/p')
	# shellcheck disable=SC2086 # a list of packages
	debian_unpack "$suite" "$dir/root" "$package" $parts
	find "$dir/root" -type f -name 'vmlinuz*' -exec mv {} "$dir/vmlinuz" \;
	pack_modules "$dir"
	rm -r "$dir/root"
}

# pack_modules DIR packs what networking may ask for, uncompressed. The machine
# itself writes modules.dep.
pack_modules() {
	(
		cd "$1"/root
		[ -d lib ] || mv usr/lib lib
		find lib/modules -type f \( -path '*/kernel/net/*' -o -path '*/kernel/lib/*' -o -path '*/kernel/crypto/*' \
			-o -path '*/arch/x86/crypto/*' -o -name 'veth.ko*' -o -name 'dummy.ko*' -o -name 'modules.builtin*' \
			-o -name modules.order \) >../list
		grep '\.xz$' ../list | xargs -r unxz
		{ find lib -type d && sed 's/\.xz$//' ../list; } | cpio --quiet -o -H newc >../modules.new
		cd .. && rm list && mv modules.new modules.cpio
	)
}

# pack_tests builds the tests and packs them with what they call.
pack_tests() {
	root=$kernels/root
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/tests" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/run" "$root/var/run"
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp e2e/matrix/init.sh "$root/init"
	chmod +x "$root/init"
	mkdir -p "$root/etc"
	cp /etc/protocols /etc/services "$root/etc/" # nft prints names
	for program in conntrack nsenter; do pack_program "$(command -v $program)"; done
	pack_nft
	CGO_ENABLED=0 $nice go build -ldflags '-s -w' -o "$root/bin/kube-vmap" ./cmd/kube-vmap
	mkdir -p "$root/src/examples" "$root/src/nft"
	cp nft/*.go "$root/src/nft/" # a test of nft/kernel reads it
	cp -r examples/demo "$root/src/examples/"
	: >"$root/tests/suites"
	grep -v '^#' e2e/matrix/suites.txt | while read -r name package arguments; do
		wanted "$name" || continue
		echo "$name $package $arguments" >>"$root/tests/suites"
		pack_suite "$name" "$package"
	done
	(cd "$root" && find . | cpio --quiet -o -H newc) >"$kernels/tests.cpio"
}

# wanted NAME reports whether SUITES leaves the suite in.
wanted() {
	case " ${SUITES:-$1} " in
	*" $1 "*) return 0 ;;
	esac
	return 1
}

# pack_suite NAME PACKAGE adds a package's tests and what they read.
pack_suite() {
	case $2 in
	-) return ;;
	esac
	mkdir -p "$root/src/$2"
	[ ! -d "$2/testdata" ] || cp -r "$2/testdata" "$root/src/$2/"
	[ -e "$root/tests/$(echo "$2" | tr / -).test" ] ||
		CGO_ENABLED=0 $nice go test -c -ldflags '-s -w' -o "$root/tests/$(echo "$2" | tr / -).test" "./$2"
}

# pack_program PATH adds a program with its libraries.
pack_program() {
	mkdir -p "$root/usr/bin"
	cp -L "$1" "$root/usr/bin/"
	ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done
}

# pack_nft adds the nft of Debian's stable suite with its libraries, on which the
# other programs run as well. (Older ones, 1.0.6 for one, swap the bytes of a field
# of one byte when they load what Services with source ranges need, and newer
# kernels, 7.3 for one, refuse that.)
pack_nft() {
	unpack_nft trixie
	from=$dir/root
	loader=$(find "$from" -type f -name 'ld-*.so*' | head -n 1)
	cp "$from/usr/sbin/nft" "$root/usr/bin/"
	"$loader" --library-path "$from/lib/x86_64-linux-gnu:$from/usr/lib/x86_64-linux-gnu" --list "$from/usr/sbin/nft" |
		grep -o "$from/[^ ]*" | while read -r library; do
		mkdir -p "$root/lib/x86_64-linux-gnu"
		cp -L "$library" "$root/lib/x86_64-linux-gnu/"
	done
	cp -L "$loader" "$root/lib64/ld-linux-x86-64.so.2"
}

# boot DIR runs the tests on a kernel and leaves the console in DIR/console. A
# machine that dies before it runs anything is started again, as some do that patch
# their code while qemu's other processor runs it; so is one that does so later, of
# the breakpoint (int3) that stands there meanwhile.
boot() {
	cat "$1/modules.cpio" "$kernels/tests.cpio" | gzip -1 >"$1/initramfs"
	for _ in 1 2 3 4 5; do
		run_machine "$1"
		if grep -q '^KERNEL ' "$1/console" && ! grep -q 'Oops: int3' "$1/console"; then break; fi
	done
	rm "$1/initramfs"
}

# run_machine DIR runs one until it turns itself off; the time bound is for one that
# hangs. Without cx16: qemu 7.2's cmpxchg16b garbles the flags, on which kernel 6.12
# dies at once.
run_machine() {
	$nice timeout --kill-after=10 "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 3072 \
		-nodefaults -no-reboot -display none -serial "file:$1/console" -kernel "$1/vmlinuz" -initrd "$1/initramfs" \
		-append "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off clocksource=tsc tsc=reliable TEST_TIMEOUT=$((seconds * 3 / 4))s" ||
		echo "qemu ended with $?" >>"$1/console"
}

# report DIR prints the results of a machine, a line "SUITE RESULT..." each, and
# puts them in the place of older ones. A suite without a result has failed.
report() {
	tr -d '\r' <"$1/console" | sed -n 's/^RESULT //p' >"$1/new"
	while read -r name _; do
		grep -q "^$name " "$1/new" || echo "$name FAIL no result" >>"$1/new"
	done <"$kernels/root/tests/suites"
	cat "$1/new"
	if [ -e "$1/results" ]; then
		awk 'NR == FNR { new[$1] = 1; next } !($1 in new)' "$1/new" "$1/results" >>"$1/new"
	fi
	mv "$1/new" "$1/results"
	release=$(tr -d '\r' <"$1/console" | sed -n 's/^KERNEL //p')
	own=$(tr -d '\r' <"$1/console" | sed -n 's/^OWNED //p')
	[ -z "$release" ] || echo "$release" >"$1/release"
	[ -z "$own" ] || echo "$own" >"$1/owned"
}

# rows prints the table of all kernels that were booted, with the last result of
# each suite.
rows() {
	names=$(grep -v '^#' e2e/matrix/suites.txt | cut -d' ' -f1)
	head='| kernel | owned table |' line='|---|---|'
	for name in $names; do head="$head $name |" line="$line---|"; done
	printf '%s\n%s\n' "$head" "$line"
	for release in $(cat "$kernels"/*/release | sort -V); do
		dir=$(dirname "$(grep -lFx "$release" "$kernels"/*/release)")
		printf '| %s | %s |' "$release" "$(cat "$dir/owned" 2>/dev/null || echo '?')"
		for name in $names; do
			result=$(sed -n "s|^$name ||p" "$dir/results" 2>/dev/null | sed 's/^PASS //')
			printf ' %s |' "${result:-not run}"
		done
		echo
	done
}

# need installs what is missing: PROGRAM:PACKAGE...
need() {
	missing=""
	for pair; do command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"; done
	[ -n "$missing" ] || return 0
	echo "installing:$missing"
	apt-get update -qq
	# shellcheck disable=SC2086 # a list of packages
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

main() {
	need qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio xz:xz-utils nft:nftables conntrack:conntrack
	mkdir -p bin/debian "$kernels" "$nft_versions"
	[ $# -gt 0 ] || set -- bullseye-security bookworm trixie trixie-backports
	pack_tests
	failed=0
	for kernel; do
		unpack_kernel "$kernel"
		echo "boot $(basename "$dir")"
		boot "$dir"
		report "$dir"
		if grep -q ' FAIL' "$dir/results"; then
			failed=1
			echo "what the machine printed is in $dir/console" >&2
		fi
		rows | document_section kernels docs/compatibility.md
	done
	exit $failed
}

main "$@"
