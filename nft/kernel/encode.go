package kernel

import (
	"encoding/binary"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// table appends what NEWTABLE and DELTABLE take. A table is added with its
// flags, which claims an owned table whose owner is gone; without them when it
// is only added to be deleted (whatever flags the one that is there has).
func (b *buffer) table(t *nft.Table, flags bool) {
	b.string(unix.NFTA_TABLE_NAME, t.Name)
	if !flags {
		return
	}
	var f uint32
	if t.Owned {
		f |= tableOwner
	}
	if t.Persist {
		f |= tablePersist
	}
	b.uint32(unix.NFTA_TABLE_FLAGS, f)
}

// chain names a chain, and appends what makes it a base chain when it is added.
func (b *buffer) chain(table string, c *nft.Chain, add bool) {
	b.string(unix.NFTA_CHAIN_TABLE, table)
	b.string(unix.NFTA_CHAIN_NAME, c.Name)
	if c.Base == nil || !add {
		return
	}
	hook := b.open(unix.NFTA_CHAIN_HOOK)
	b.uint32(unix.NFTA_HOOK_HOOKNUM, uint32(c.Base.Hook))
	b.uint32(unix.NFTA_HOOK_PRIORITY, uint32(c.Base.Priority))
	b.close(hook)
	b.uint32(unix.NFTA_CHAIN_POLICY, policyAccept)
	b.string(unix.NFTA_CHAIN_TYPE, string(c.Base.Type))
}

// rulesOf names a chain whose rules a message is about.
func (b *buffer) rulesOf(table string, c *nft.Chain) {
	b.string(unix.NFTA_RULE_TABLE, table)
	b.string(unix.NFTA_RULE_CHAIN, c.Name)
}

func (b *buffer) rule(table string, c *nft.Chain, r nft.Rule) {
	b.rulesOf(table, c)
	b.bytes(unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, r.Bytecode())
}

// set appends a set's definition. The id is only for references within the
// batch; the kernel demands one.
func (b *buffer) set(table string, s *nft.Set, id uint32) {
	b.string(unix.NFTA_SET_TABLE, table)
	b.string(unix.NFTA_SET_NAME, s.Name)
	b.uint32(unix.NFTA_SET_FLAGS, setFlags(s))
	b.uint32(unix.NFTA_SET_KEY_TYPE, s.Key.ID())
	b.uint32(unix.NFTA_SET_KEY_LEN, uint32(s.Key.Size()))
	switch {
	case s.IsVerdictMap():
		b.uint32(unix.NFTA_SET_DATA_TYPE, dataTypeVerdict)
		b.uint32(unix.NFTA_SET_DATA_LEN, 0) // the kernel knows a verdict's length
	case s.IsMap():
		b.uint32(unix.NFTA_SET_DATA_TYPE, s.Data.ID())
		b.uint32(unix.NFTA_SET_DATA_LEN, uint32(s.Data.Size()))
	}
	b.uint32(unix.NFTA_SET_ID, id)
	b.setDescription(s)
	b.setUserdata(s)
	if s.Counters {
		expr := b.open(attrSetExpr)
		b.string(unix.NFTA_EXPR_NAME, "counter")
		b.close(b.open(unix.NFTA_EXPR_DATA))
		b.close(expr)
	}
}

func setFlags(s *nft.Set) (flags uint32) {
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	if isIntervalConcat(s) {
		flags |= setConcat
	}
	if s.IsMap() || s.IsVerdictMap() {
		flags |= unix.NFT_SET_MAP
	}
	if s.Dynamic {
		flags |= unix.NFT_SET_EVAL | unix.NFT_SET_TIMEOUT
	}
	return flags
}

// isIntervalConcat tells the two kinds of interval sets apart. One of several
// fields (pipapo) has elements with a first and a last key; one of a single field
// (rbtree) has two elements per interval, its first value and the one behind its
// last.
func isIntervalConcat(s *nft.Set) bool { return s.Interval && len(s.Key) > 1 }

func (b *buffer) setDescription(s *nft.Set) {
	if s.Size == 0 && !isIntervalConcat(s) {
		return
	}
	desc := b.open(unix.NFTA_SET_DESC)
	if s.Size > 0 {
		b.uint32(unix.NFTA_SET_DESC_SIZE, s.Size)
	}
	if isIntervalConcat(s) {
		concat := b.open(attrSetDescConcat)
		for _, t := range s.Key {
			field := b.open(unix.NFTA_LIST_ELEM)
			b.uint32(attrSetFieldLen, uint32(t.Size()))
			b.close(field)
		}
		b.close(concat)
	}
	b.close(desc)
}

// setUserdata tells nft the byte order of single fields, as nft itself does. The
// fields of a concatenation have that of their types.
func (b *buffer) setUserdata(s *nft.Set) {
	at := len(*b)
	b.header(unix.NFTA_SET_USERDATA, 0)
	b.userdataByteOrder(userdataSetKeyByteOrder, s.Key)
	if s.IsMap() {
		b.userdataByteOrder(userdataSetDataByteOrder, s.Data)
	}
	b.close(at)
	b.pad()
}

func (b *buffer) userdataByteOrder(kind byte, ts nft.Types) {
	const unspecified, host, bigEndian = 0, 1, 2 // nftables include/datatype.h, enum byteorder
	order := uint32(unspecified)
	if len(ts) == 1 {
		order = bigEndian
		if ts[0] == nft.Mark {
			order = host
		}
	}
	*b = append(*b, kind, 4)
	*b = binary.NativeEndian.AppendUint32(*b, order)
}
