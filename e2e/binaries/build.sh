#!/usr/bin/env bash
# Builds the control plane that the end-to-end suite and the benchmarks run against, from the modules pinned in
# go.mod beside this file: etcd, kube-apiserver, kube-controller-manager, kube-proxy and kubectl.
#
# usage: e2e/binaries/build.sh [DIRECTORY]     the directory is <repository>/bin by default
#
# A stamp in the directory names the pins, the toolchain and the platform that it was built from; nothing is built
# while the stamp still holds. GOFLAGS is respected: GOFLAGS=-p=2 halves the memory that the build takes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/../../bin}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here"

kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${kubernetes#v1.}
minor=${minor%%.*}

# kube-apiserver derives its emulation version, and kubectl its skew check, from these variables.
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=$minor"
	ldflags+=" -X $package.gitTreeState=clean"
done

stamp=$({ cat go.mod go.sum build.sh; go env GOVERSION GOOS GOARCH; } | sha256sum | cut -d' ' -f1)

# build NAME PACKAGE builds one static binary, unless the stamp says that it is there already.
build() {
	local name=$1 package=$2 start=$SECONDS
	if [[ -x $out/$name && $(cat "$out/.$name.stamp" 2>/dev/null) == "$stamp" ]]; then
		return
	fi
	# grpcnotrace keeps golang.org/x/net/trace out, whose html/template makes the linker keep every method.
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "$ldflags" -o "$out/$name" "$package"
	echo "$stamp" >"$out/.$name.stamp"
	echo "built $name in $((SECONDS - start)) s, $(($(stat -c %s "$out/$name") >> 20)) MiB"
}

build etcd go.etcd.io/etcd/server/v3
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
build kube-proxy k8s.io/kubernetes/cmd/kube-proxy
build kubectl k8s.io/kubernetes/cmd/kubectl
