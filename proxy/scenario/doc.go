// Package scenario describes what Services do, a file per behaviour, and holds
// the proxy to it. The names of the files in testdata are the table of contents.
// The package has tests only.
//
// # A file
//
// A scenario is a txtar archive. The text at its beginning says what happens and
// why. Then come sections, of which all but objects may be left out:
//
//	-- config --        how the proxy is configured (type config, as YAML)
//	-- net --           what the laboratory has beyond the default, a command a line
//	-- objects --       Services, EndpointSlices, Nodes and ServiceCIDRs, as YAML
//	-- elements --      golden: the elements in the table, by set, and the chains made on demand
//	-- events --        golden: warnings about objects
//	-- packets --       who connects to what, and what becomes of it
//	-- step 2: net --
//	-- step 2: objects --       objects that are new or changed
//	-- step 2: delete --        objects that go: "Service shop/web", a line each
//	-- step 2: transactions --  golden: what is written to the kernel, as nft commands
//	-- step 2: events --        golden
//	-- step 2: packets --
//	-- step 3: ...
//
// Where a scenario doesn't have them, the objects of testdata/cluster.yaml are
// there too: the Nodes and the ServiceCIDR of the laboratory. Elements that an
// empty cluster has are not listed; testdata/tables holds that table whole.
// Everywhere but in YAML a line that begins with "#" is a comment.
//
// # Packets
//
//	client,a1 tcp,udp 10.96.0.10:80 [fd00:10:96::10]:80 -> a2 b1, a1 masqueraded
//
// Hosts (with ":port" to come from that port), protocols (tcp, udp, sctp, icmp,
// and http for health checks), destinations, and the outcome of each combination:
//
//	a1 b1                  these servers answer, each of them sometimes
//	a1, b1 masqueraded     likewise; a1 sees the client's own address, b1 another one
//	a1 source 192.0.2.10   a1 sees the client as this address
//	one of a1 b1           always the same one of these answers
//	refused                TCP reset or ICMP port unreachable
//	unreachable            another ICMP error, or no route
//	silent                 nothing comes back
//	200/2                  the status of a health check, and the number of endpoints it tells
//
// # The laboratory
//
// It is testnet.TwoNodes: node-a with the pods a1 and a2, node-b with b1 and b2,
// and a client outside. Each pod serves port 8080 of TCP, UDP and SCTP. The proxy
// runs on node-a unless the config says otherwise. Outside, 203.0.113.0/24,
// 2001:db8:113::/64 and the default ServiceCIDR lead to node-a. Commands of net:
//
//	serve b1 tcp 9090                  a server, on all addresses of the host
//	address node-a 203.0.113.10/32     an address on eth0
//	no-address node-a 203.0.113.10/32  and its end
//	route 203.0.113.128/25 node-b      what else leads to which node outside
//	nft node-a table inet x { ... }    a ruleset of somebody else, with "; " for each new line
//
// # What is tested
//
// Each file is used several ways. The table is computed from nothing and held to
// the goldens. A proxy runs in the laboratory: its transactions are held to the
// goldens, the table in the kernel to the computed one and to what nft makes of
// the rendered text, and the packets to the outcomes; a restart must write
// nothing. And in an empty namespace the objects come in many orders, one by one
// and all at once, and must end as the same table.
//
//	go test ./proxy/scenario -run 'TestScenario/clusterip'  # some files
//	go test ./proxy/scenario -update                        # rewrites the goldens
package scenario
