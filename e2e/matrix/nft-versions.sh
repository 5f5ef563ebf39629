#!/bin/sh
# Holds the tables of all scenarios to each nft that Debian has: what it lists, as
# text and as JSON, and whether it loads the rendered text. The result is a part
# of docs/compatibility.md.
#
#	e2e/matrix/nft-versions.sh [SUITE...]
#
# Needs root, apt and dpkg-deb. What it downloads stays in bin/nft-versions.
set -eu
cd "$(dirname "$0")/../.."
. e2e/matrix/debian.sh
. e2e/matrix/document.sh

versions=$PWD/bin/nft-versions

# unpack_nft SUITE makes bin/nft-versions/VERSION with an executable nft, which
# runs on the libraries (libc too) of its own suite.
unpack_nft() {
	debian_index "$1"
	version=$(debian_version "$1" nftables)
	version=${version%%-*}
	dir=$versions/$version
	[ -x "$dir/nft" ] && return
	packages=$(apt_in "$1" apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances nftables | grep -E '^(nftables|lib[a-z0-9.+-]*)$' | sort -u)
	rm -rf "$dir"
	# shellcheck disable=SC2086 # a list of packages
	debian_unpack "$1" "$dir/root" $packages
	loader=$(find "$dir/root" -type f -name 'ld-*.so*' | head -n 1)
	cat >"$dir/nft.new" <<-END
		#!/bin/sh
		root=$dir/root
		exec "$loader" --library-path \\
			"\$root/lib/x86_64-linux-gnu:\$root/usr/lib/x86_64-linux-gnu" "\$root/usr/sbin/nft" "\$@"
	END
	chmod +x "$dir/nft.new"
	"$dir/nft.new" --version
	echo "$1" >"$dir/suite"
	mv "$dir/nft.new" "$dir/nft"
}

mkdir -p bin/debian "$versions"
[ $# -gt 0 ] || set -- bullseye bookworm trixie forky sid
for suite; do unpack_nft "$suite"; done

programs=""
for nft in $(find "$versions" -mindepth 2 -maxdepth 2 -name nft | sort -V); do programs="$programs,$nft"; done
report=$(mktemp)
trap 'rm -f "$report"' EXIT
nice -n 19 go test -count=1 ./proxy/scenario -run '^TestListing$' -timeout 20m -nft "${programs#,}" -listing-report "$report"
document_section nft docs/compatibility.md <"$report"
