// Package kernel programs the tables of package nft into the Linux kernel and
// reads them back. It is the only user of the nf_tables netlink socket.
//
// A Conn has two lasting sockets. One writes: a transaction becomes one batch,
// built in one reused buffer and written with one system call, which the kernel
// applies as a whole or not at all. The other reads: dumps that are checked to
// belong to one generation of the ruleset.
//
// The kernel handles netlink requests while the sender is still in its system
// call, so nothing here waits: when a write returns, its answers are queued, and
// an answer that is not there was lost (ErrUncertain).
//
// The messages are described by include/uapi/linux/netfilter/nf_tables.h,
// nfnetlink.h and linux/netlink.h; the bytes of rules come from package nft.
package kernel
