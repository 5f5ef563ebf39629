package kernel

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// msgDestroySetElem is NFT_MSG_DESTROYSETELEM (include/uapi/linux/netfilter/
// nf_tables.h): a delete that does not mind if the element is gone.
const msgDestroySetElem = 30

// canDestroy reports whether the kernel has the destroy messages: since 6.3.
var canDestroy = sync.OnceValue(func() bool { return kernelAtLeast(6, 3) })

// checkRelease refuses kernels before 5.13, on which nothing here was tried.
func checkRelease(release string) error {
	if releaseAtLeast(release, 5, 13) {
		return nil
	}
	return fmt.Errorf("use nf_tables: the kernel is too old: it is %s, and must be 5.13 or newer", release)
}

// kernelAtLeast compares the running kernel's release.
func kernelAtLeast(major, minor int) bool { return releaseAtLeast(kernelRelease(), major, minor) }

// Release is the running kernel's release, as `uname -r` prints it; empty if the
// kernel does not tell.
func Release() string { return kernelRelease() }

// kernelRelease is what `uname -r` prints, empty if the kernel does not tell.
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// releaseAtLeast compares the two first numbers of a release. What follows them
// is the distribution's.
func releaseAtLeast(release string, major, minor int) bool {
	var version [2]int
	part := 0
	for _, c := range release {
		switch {
		case c >= '0' && c <= '9':
			version[part] = version[part]*10 + int(c-'0')
		case c == '.' && part == 0:
			part = 1
		default:
			return version[0] > major || version[0] == major && version[1] >= minor
		}
	}
	return version[0] > major || version[0] == major && version[1] >= minor
}
