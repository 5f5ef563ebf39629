package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tableLists name the legacy tables that a namespace has. The files are there if
// the kernel has ip_tables, which it may do without.
var tableLists = map[family]string{
	families[0]: "/proc/thread-self/net/ip_tables_names",
	families[1]: "/proc/thread-self/net/ip6_tables_names",
}

// cleanLegacy removes kube-proxy's chains from the tables of iptables-legacy, each
// by one replacement of the table.
func (c *cleaner) cleanLegacy() error {
	var errs []error
	for _, f := range families {
		names, err := os.ReadFile(tableLists[f])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list iptables-legacy tables of family %s: %w", f, err))
			continue
		}
		for _, name := range strings.Fields(string(names)) {
			if proxyChains[name] == nil {
				continue
			}
			if err := c.cleanLegacyTable(f, name); err != nil {
				errs = append(errs, fmt.Errorf("remove kube-proxy's chains from iptables-legacy table %s %s: %w", f, name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (c *cleaner) cleanLegacyTable(f family, name string) error {
	s, err := openLegacy(f)
	if err != nil {
		return err
	}
	defer s.close()
	var p plan
	err = retry(func() error {
		unlock, err := c.lockLegacy()
		if err != nil {
			return err
		}
		defer unlock()
		old, err := s.read(name)
		if err != nil {
			return err
		}
		if p = old.table(f).plan(); c.DryRun || p.empty() {
			return nil
		}
		changed, left := old.without(&p)
		return s.replace(old, changed, left)
	})
	if err == nil {
		c.tell(fmt.Sprintf("%s %s (iptables-legacy)", f, name), &p)
	}
	return err
}

// legacyLock is the file that iptables-legacy locks while it reads and writes,
// and lockPatience how long it may do so.
const (
	legacyLock   = "/run/xtables.lock"
	lockPatience = 30 * time.Second
)

// lockLegacy waits for the other users of iptables-legacy. Where the file can't be
// had, as in a container without the host's /run, the kernel still refuses to
// replace a table that has another number of rules than the one that was read.
func (c *cleaner) lockLegacy() (unlock func(), err error) {
	if c.DryRun {
		return func() {}, nil
	}
	fd, err := unix.Open(legacyLock, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return func() {}, nil //nolint:nilerr // see above
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { unix.Close(fd) }, nil
		}
		again := errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR)
		if !again || time.Since(begin) > lockPatience {
			unix.Close(fd)
			return nil, fmt.Errorf("lock %s, which iptables-legacy locks while it works: %w", legacyLock, err)
		}
	}
}
