package takeover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The socket options of ip_tables and ip6_tables, which have the same numbers.
const (
	getInfo     = 64 // IPT_SO_GET_INFO, struct ipt_getinfo
	getEntries  = 65 // IPT_SO_GET_ENTRIES, struct ipt_get_entries
	setReplace  = 64 // IPT_SO_SET_REPLACE, struct ipt_replace
	addCounters = 65 // IPT_SO_SET_ADD_COUNTERS, struct xt_counters_info
)

// Lengths of what these options take; a table's name has 32 bytes in each.
const (
	sizeofTableName = 32
	sizeofInfo      = 84
	sizeofEntries   = 40 // then the entries
	sizeofReplace   = 88 // then a pointer to counters, then the entries
	sizeofAdd       = 40 // then the counters
)

// legacySocket is any socket of the family: its type doesn't matter.
type legacySocket struct {
	fd    int
	level int
	layout
}

func openLegacy(f family) (*legacySocket, error) {
	s := &legacySocket{level: unix.IPPROTO_IP, layout: layouts[f]}
	domain := unix.AF_INET
	if f == unix.NFPROTO_IPV6 {
		s.level, domain = unix.IPPROTO_IPV6, unix.AF_INET6
	}
	var err error
	if s.fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	return s, nil
}

func (s *legacySocket) close() { unix.Close(s.fd) }

// get reads an option into b, whose first bytes say what is asked.
func (s *legacySocket) get(option int, b []byte) error {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), uintptr(s.level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return collisionLegacy(errno)
	}
	return nil
}

func (s *legacySocket) set(option int, b []byte) error {
	err := unix.SetsockoptString(s.fd, s.level, option, string(b))
	var errno unix.Errno
	if errors.As(err, &errno) {
		return collisionLegacy(errno)
	}
	return err
}

// collisionLegacy adds errChanged to the error that says that the table has
// another size than the one that was read.
func collisionLegacy(errno unix.Errno) error {
	if errno == unix.EAGAIN {
		return fmt.Errorf("%w (%w)", errChanged, errno)
	}
	return errno
}

// read reads a table, which must be one that the namespace has already: asking for
// any other makes it, with its hooks.
func (s *legacySocket) read(name string) (*blob, error) {
	b := &blob{layout: s.layout, name: name}
	info := make([]byte, sizeofInfo)
	copy(info, name)
	if err := s.get(getInfo, info); err != nil {
		return nil, fmt.Errorf("read size: %w", err)
	}
	b.validHooks = binary.NativeEndian.Uint32(info[32:])
	for h := range hookNames {
		b.entry[h] = binary.NativeEndian.Uint32(info[36+4*h:])
		b.underflow[h] = binary.NativeEndian.Uint32(info[56+4*h:])
	}
	size := binary.NativeEndian.Uint32(info[80:])
	entries := make([]byte, sizeofEntries+int(size))
	copy(entries, name)
	binary.NativeEndian.PutUint32(entries[sizeofTableName:], size)
	if err := s.get(getEntries, entries); err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	b.bytes = entries[sizeofEntries:]
	if err := b.parse(); err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	return b, nil
}

// replace puts another table in the place of old at once, and gives the entries
// that are left their counters back; left has their numbers in old. The kernel
// refuses (errChanged) if it has not as many entries as old any more.
func (s *legacySocket) replace(old, b *blob, left []int) error {
	counters := make([]byte, sizeofCounters*len(old.entries))
	var pin runtime.Pinner
	pin.Pin(&counters[0])
	defer pin.Unpin()
	r := make([]byte, sizeofReplace, sizeofReplace+8+len(b.bytes))
	copy(r, b.name)
	binary.NativeEndian.PutUint32(r[32:], b.validHooks)
	binary.NativeEndian.PutUint32(r[36:], uint32(len(left)))
	binary.NativeEndian.PutUint32(r[40:], uint32(len(b.bytes)))
	for h := range hookNames {
		binary.NativeEndian.PutUint32(r[44+4*h:], b.entry[h])
		binary.NativeEndian.PutUint32(r[64+4*h:], b.underflow[h])
	}
	binary.NativeEndian.PutUint32(r[84:], uint32(len(old.entries)))
	r = appendPointer(r, unsafe.Pointer(&counters[0]))
	if err := s.set(setReplace, append(r, b.bytes...)); err != nil {
		return fmt.Errorf("replace entries: %w", err)
	}
	add := make([]byte, sizeofAdd, sizeofAdd+sizeofCounters*len(left))
	copy(add, b.name)
	binary.NativeEndian.PutUint32(add[sizeofTableName:], uint32(len(left)))
	for _, i := range left {
		add = append(add, counters[sizeofCounters*i:][:sizeofCounters]...)
	}
	if err := s.set(addCounters, add); err != nil && !errors.Is(err, unix.EINVAL) { // changed again
		return fmt.Errorf("restore counters: %w", err)
	}
	return nil
}

// appendPointer appends an address that the kernel writes to.
func appendPointer(b []byte, p unsafe.Pointer) []byte {
	if unsafe.Sizeof(p) == 4 {
		return binary.NativeEndian.AppendUint32(b, uint32(uintptr(p)))
	}
	return binary.NativeEndian.AppendUint64(b, uint64(uintptr(p)))
}
