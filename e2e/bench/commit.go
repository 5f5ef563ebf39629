package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// Commit is what the kernel takes for a transaction of one element, with the
// agent's table in place.
type Commit struct {
	// Own: an element that the agent writes: kube-vmap's for an endpoint, and
	// kube-proxy's for a Service (an endpoint takes it more than one element).
	Own Quantiles `json:"own"`
	// Other: an element of a small table of somebody else on the same node.
	Other Quantiles `json:"other"`
}

// The numbers of uapi/linux/netfilter/nf_tables.h that package unix lacks a use for here.
const (
	batchBegin = unix.NFNL_MSG_BATCH_BEGIN
	batchEnd   = unix.NFNL_MSG_BATCH_END

	attrElemTable    = 1 // NFTA_SET_ELEM_LIST_TABLE
	attrElemSet      = 2 // NFTA_SET_ELEM_LIST_SET
	attrElemElements = 3 // NFTA_SET_ELEM_LIST_ELEMENTS
	attrListItem     = 1 // NFTA_LIST_ELEM
	attrKey          = 1 // NFTA_SET_ELEM_KEY
	attrData         = 2 // NFTA_SET_ELEM_DATA
	attrValue        = 1 // NFTA_DATA_VALUE
	attrVerdict      = 2 // NFTA_DATA_VERDICT
	attrVerdictCode  = 1 // NFTA_VERDICT_CODE
	attrVerdictChain = 2 // NFTA_VERDICT_CHAIN

	tableDormant    = 1          // NFT_TABLE_F_DORMANT
	tableOwned      = 2          // NFT_TABLE_F_OWNER
	tablePersistent = 4          // NFT_TABLE_F_PERSIST
	verdictGoto     = ^uint32(3) // NFT_GOTO, -4
)

// place is a set and an element for it.
type place struct {
	family     byte
	table, set string
	key        []byte
	data       func(m *message) // nil in a set
}

const commitSamples = 200

// commits measures on the node of an agent that is stopped.
func commits(w *World, kind AgentKind, services *Services) (c Commit, err error) {
	socket, err := dialTables(w.node(kind))
	if err != nil {
		return c, err
	}
	defer unix.Close(socket.fd)
	if kind == KubeVmap {
		// The table belongs to whoever takes it after its owner's end.
		family, name := kind.table()
		err = socket.send(func(m *message) { m.table(family, name, tableOwned|tablePersistent) })
	}
	err = errors.Join(err, socket.send(func(m *message) {
		m.table(unix.NFPROTO_INET, otherTable, 0)
		m.smallSet()
	}))
	if err != nil {
		return c, fmt.Errorf("measure commits with the table of %s: %w", kind, err)
	}
	own, other := ownPlace(kind, services.lone), otherPlace()
	for _, target := range []struct {
		place place
		into  *Quantiles
	}{{own, &c.Own}, {other, &c.Other}} {
		if *target.into, err = socket.measure(&target.place); err != nil {
			return c, fmt.Errorf("measure commits with the table of %s: %w", kind, err)
		}
	}
	return c, socket.send(func(m *message) {
		at := m.begin(unix.NFT_MSG_DELTABLE, unix.NLM_F_ACK, unix.NFPROTO_INET)
		m.text(1, otherTable)
		m.end(at)
	})
}

const (
	otherTable = "bench-other"
	otherSet   = "addresses"
)

// ownPlace is where the agent writes. The keys are of no packet.
func ownPlace(kind AgentKind, s *Service) place {
	family, table := kind.table()
	addr := s.vip.Addr().As4()
	key := append(addr[:], unix.IPPROTO_TCP, 0, 0, 0, 0, servicePort, 0, 0)
	if kind == KubeVmap {
		const farSlot = 60_000
		return place{family, table, "backends4", binary.NativeEndian.AppendUint32(key, farSlot), func(m *message) {
			m.attribute(attrValue, []byte{10, 128, 0, 1, backendPort >> 8, backendPort & 0xff, 0, 0})
		}}
	}
	key[9] = servicePort + 1
	return place{family, table, "service-ips", key, func(m *message) {
		m.nest(attrVerdict, func() {
			m.number(attrVerdictCode, verdictGoto)
			m.text(attrVerdictChain, "reject-chain")
		})
	}}
}

func otherPlace() place {
	return place{family: unix.NFPROTO_INET, table: otherTable, set: otherSet, key: []byte{192, 0, 2, 77}}
}

// tables is a socket to nf_tables of a node.
type tables struct{ fd int }

func dialTables(node *testnet.Host) (t tables, err error) {
	err = node.Do(func() (err error) {
		t.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return t, fmt.Errorf("open netlink socket: %w", err)
	}
	return t, unix.Bind(t.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// measure adds and deletes the element again and again, and times the additions.
func (t tables) measure(p *place) (Quantiles, error) {
	times := make([]time.Duration, 0, commitSamples)
	for range commitSamples {
		m := batchOf(func(m *message) { m.element(unix.NFT_MSG_NEWSETELEM, p) })
		start := time.Now()
		err := t.write(m)
		times = append(times, time.Since(start))
		if err == nil {
			err = t.answer()
		}
		if err == nil {
			err = t.send(func(m *message) { m.element(unix.NFT_MSG_DELSETELEM, p) })
		}
		if err != nil {
			return Quantiles{}, fmt.Errorf("write an element of %s %s: %w", p.table, p.set, err)
		}
	}
	return quantilesOf(times), nil
}

// send commits a transaction.
func (t tables) send(fill func(*message)) error {
	if err := t.write(batchOf(fill)); err != nil {
		return err
	}
	return t.answer()
}

func batchOf(fill func(*message)) []byte {
	m := &message{}
	m.batch(batchBegin)
	fill(m)
	m.batch(batchEnd)
	return m.b
}

// write returns when the kernel has committed.
func (t tables) write(b []byte) error {
	return unix.Sendto(t.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// answer reads the acknowledgements that are there and returns the first error in them.
func (t tables) answer() error {
	buf := make([]byte, 8192)
	for {
		n, err := unix.Read(t.fd, buf)
		if err != nil {
			return err
		}
		for b := buf[:n]; len(b) >= 20; {
			size := int(binary.NativeEndian.Uint32(b))
			if kind := binary.NativeEndian.Uint16(b[4:]); kind == unix.NLMSG_ERROR {
				if errno := int32(binary.NativeEndian.Uint32(b[16:])); errno != 0 {
					return unix.Errno(-errno)
				}
				return nil
			}
			if size < 16 || size > len(b) {
				break
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

func (m *message) table(family byte, name string, flags uint32) {
	at := m.begin(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_ACK, family)
	m.text(1, name)
	m.number(2, flags)
	m.end(at)
}

// smallSet adds the set of IPv4 addresses of otherTable.
func (m *message) smallSet() {
	const ipv4Addr = 7 // nft's number of the type
	at := m.begin(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, unix.NFPROTO_INET)
	m.text(unix.NFTA_SET_TABLE, otherTable)
	m.text(unix.NFTA_SET_NAME, otherSet)
	m.number(unix.NFTA_SET_FLAGS, 0)
	m.number(unix.NFTA_SET_KEY_TYPE, ipv4Addr)
	m.number(unix.NFTA_SET_KEY_LEN, 4)
	m.number(unix.NFTA_SET_ID, 1)
	m.end(at)
}

func (m *message) element(kind uint16, p *place) {
	flags := uint16(unix.NLM_F_ACK)
	if kind == unix.NFT_MSG_NEWSETELEM {
		flags |= unix.NLM_F_CREATE
	}
	at := m.begin(kind, flags, p.family)
	m.text(attrElemTable, p.table)
	m.text(attrElemSet, p.set)
	m.nest(attrElemElements, func() {
		m.nest(attrListItem, func() {
			m.nest(attrKey, func() { m.attribute(attrValue, p.key) })
			if p.data != nil && kind == unix.NFT_MSG_NEWSETELEM {
				m.nest(attrData, func() { p.data(m) })
			}
		})
	})
	m.end(at)
}
