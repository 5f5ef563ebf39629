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

mkdir -p bin/debian "$nft_versions"
[ $# -gt 0 ] || set -- bullseye bookworm trixie forky sid
for suite; do unpack_nft "$suite"; done

programs=""
for nft in $(find "$nft_versions" -mindepth 2 -maxdepth 2 -name nft | sort -V); do programs="$programs,$nft"; done
report=$(mktemp)
trap 'rm -f "$report"' EXIT
nice -n 19 go test -count=1 ./proxy/scenario -run '^TestListing$' -timeout 20m -nft "${programs#,}" -listing-report "$report"
document_section nft docs/compatibility.md <"$report"
