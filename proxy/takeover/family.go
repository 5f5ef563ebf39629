package takeover

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// family is a netfilter family: NFPROTO_IPV4 or NFPROTO_IPV6.
type family uint8

var families = []family{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}

func (f family) String() string {
	switch f {
	case unix.NFPROTO_IPV4:
		return "ip"
	case unix.NFPROTO_IPV6:
		return "ip6"
	}
	return fmt.Sprintf("family(%d)", uint8(f))
}

// plain is a name as it is, or quoted if it has anything but printable ASCII: the
// kernel takes any bytes.
func plain(name string) string {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }
	if name == "" || strings.ContainsFunc(name, odd) {
		return strconv.QuoteToASCII(name)
	}
	return name
}
