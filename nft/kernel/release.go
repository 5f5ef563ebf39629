package kernel

import (
	"sync"

	"golang.org/x/sys/unix"
)

// msgDestroySetElem is NFT_MSG_DESTROYSETELEM (include/uapi/linux/netfilter/
// nf_tables.h): a delete that does not mind if the element is gone.
const msgDestroySetElem = 30

// canDestroy reports whether the kernel has the destroy messages: since 6.3.
var canDestroy = sync.OnceValue(func() bool { return kernelAtLeast(6, 3) })

// kernelAtLeast compares the running kernel's release.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var version [2]int
	part := 0
	for _, c := range u.Release {
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
