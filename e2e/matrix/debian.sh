# Functions to unpack packages of any Debian suite without installing them. To be
# read by the scripts beside it. The suite's index goes into an APT root of its
# own, so that the system's sources and packages stay what they are.

# The mirror from which the system itself takes its packages, if it is a Debian.
debian_mirror=${DEBIAN_MIRROR:-http://deb.debian.org}
debian_cache=bin/debian

# apt_in SUITE COMMAND ARGUMENT... runs an apt command on a suite's own root.
apt_in() {
	apt_root=$PWD/$debian_cache/$1
	shift
	command=$1
	shift
	"$command" -q -o Dir::Etc="$apt_root/etc" -o Dir::State="$apt_root/state" \
		-o Dir::State::status="$apt_root/state/status" -o Dir::Cache="$apt_root/cache" \
		-o APT::Sandbox::User=root -o APT::Architecture=amd64 "$@"
}

# debian_index SUITE fetches the suite's list of packages, at most once a day.
debian_index() {
	apt_root=$PWD/$debian_cache/$1
	if [ -n "$(find "$apt_root/fresh" -mtime -1 2>/dev/null)" ]; then return; fi
	mkdir -p "$apt_root/etc/apt.conf.d" "$apt_root/etc/preferences.d" "$apt_root/etc/sources.list.d" \
		"$apt_root/state/lists/partial" "$apt_root/cache/archives/partial"
	: >"$apt_root/state/status"
	case $1 in
	*-security) path=debian-security ;;
	*) path=debian ;;
	esac
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $debian_mirror/$path $1 main" >"$apt_root/etc/sources.list"
	apt_in "$1" apt-get update >"$apt_root/update.log" 2>&1 || {
		cat "$apt_root/update.log" >&2
		echo "fetch the index of $1 from $debian_mirror: failed" >&2
		return 1
	}
	touch "$apt_root/fresh"
}

# debian_version SUITE PACKAGE prints the version that the suite has.
debian_version() {
	apt_in "$1" apt-cache show --no-all-versions "$2" | sed -n 's/^Version: //p'
}

# debian_unpack SUITE DIRECTORY PACKAGE... downloads packages and unpacks them
# into the directory.
debian_unpack() {
	suite=$1 into=$2
	shift 2
	mkdir -p "$into"
	debs=$(mktemp -d "$debian_cache/download.XXXXXX")
	for package; do
		echo "unpack $package of $suite"
		(here=$(pwd) && cd "$debs" && PWD=$here && apt_in "$suite" apt-get download "$package" >/dev/null)
	done
	for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$into"; done
	rm -r "$debs"
}

nft_versions=$PWD/bin/nft-versions

# unpack_nft SUITE makes bin/nft-versions/VERSION with an executable nft, which
# runs on the libraries (libc too) of its own suite.
unpack_nft() {
	debian_index "$1"
	version=$(debian_version "$1" nftables)
	version=${version%%-*}
	dir=$nft_versions/$version
	if [ -x "$dir/nft" ]; then return; fi
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
