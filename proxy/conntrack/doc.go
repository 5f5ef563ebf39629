// Package conntrack keeps the kernel's connection tracking in step with the
// table: it deletes UDP flows that lead to backends which serve no more, and flows
// that began while the table was damaged, and sets the sysctls of conntrack.
//
// # Why flows have to go
//
// The first packet of a flow finds its backend in the table; conntrack remembers
// it for all that follow. TCP and SCTP peers notice that a backend is gone and
// connect anew. UDP clients go on sending from the same port, each packet renews
// the flow (30 s, 120 s once it was answered), and they never meet another
// backend. The same holds for a flow from before its frontend had a backend: it
// was not translated, and never will be.
//
// # The rule
//
// A UDP flow whose original destination is a frontend, by address and port, and
// whose reply source is not one of the backends that serve there is deleted, in
// whatever conntrack zone it is. That covers flows of removed backends, of a
// backend whose port changed, of a frontend without any backend left, and flows
// that were not translated (their reply source is the frontend itself). Nothing
// else is: no TCP, no SCTP, and no flow to the port number of a node port on an
// address that is not a frontend.
//
// # After a damage
//
// A first packet that passes while the table is not there, or damaged, is not
// translated, or not masqueraded, and conntrack holds to that for all that have
// the same addresses and ports: the repetitions of a SYN, and other connections
// from the same port for as long as a SYN without an answer is remembered (120 s).
// So after the table was put right, flows of all protocols to any frontend are
// deleted that nobody has answered. The next repetition finds its backend: with
// TCP a second after the first packet. A handshake whose answer is on its way in
// that moment is begun again in the same way.
//
// # How
//
// One pass serves any number of frontends: one dump per address family
// (IPCTNL_MSG_CT_GET), in which the kernel leaves out what is not UDP and, where
// all frontends of the pass share a port or an IPv4 address, what has another;
// the rest is decided here, flow by flow, without allocation. A flow is deleted
// (IPCTNL_MSG_CT_DELETE) by its original tuple together with its id, so that a
// newer flow of the same client is not hit.
//
// A packet that found the old backend just before the table changed may enter
// its flow after the dump has passed the place. So each request is carried out
// twice, the second time a second later.
//
// After a damage the kernel leaves out what was answered.
//
// # Facts about ctnetlink
//
// All are of net/netfilter/nf_conntrack_netlink.c.
//
//   - CTA_FILTER, with which the kernel filters a dump by parts of a tuple, came
//     with Linux 5.8. Older kernels ignore the attribute and dump all flows of the
//     family, which costs time and changes nothing else.
//   - CTA_STATUS_MASK came with Linux 5.15. Older kernels ignore the two attributes.
//   - For IPv6 addresses that filter is inverted: it lets through what has another
//     address (seen in the source of 6.1 and 6.18, and by trial on 6.18). So only
//     the port is filtered for IPv6.
//   - A delete without a tuple flushes the whole table. No message is made without.
//   - The kernel answers while it takes a request: what can't be read at once was
//     lost, and the request is repeated on a new socket.
package conntrack
