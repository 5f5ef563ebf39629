// Package testnet is a laboratory of network namespaces: nodes with pods, an
// outside switch and external clients, servers and clients of TCP, UDP, SCTP and
// HTTP, floods of connections and child processes, all on the real kernel of
// this machine, for tests and for the demonstration. It needs root and Linux.
//
// # A laboratory
//
//	lab, err := testnet.Build(testnet.TwoNodes())   // or testnet.ForTest(t, topology): closes itself
//	defer lab.Close()
//	node, pod, client := lab.Host("node-a"), lab.Host("a1"), lab.Host("client")
//
// A Topology is a value: gateways of the outside switch, nodes with pods, and
// clients. Everything is dual stack if its addresses are. Later changes:
//
//	lab.AddNode(Node{...})  lab.AddClient(Client{...})  lab.AddPod("node-a", Pod{...})  host.Close()
//	lab.Route(prefix, node)           // outside (and so every client) reaches prefix through the node
//	host.Route(prefix, gateway)       // one host's own route
//	host.AddAddr(prefix), host.DelAddr(prefix)      // rtnetlink changes on eth0
//	host.SetSysctl("net/ipv4/ip_forward", "1")
//	host.Do(func() error { ... })     // on a thread in the host's namespace
//
// Nodes route their pods by one veth pair each (Veth, as the CNI plugin ptp), or
// bridge them on cni0 with hairpin ports (Bridge, as the CNI plugin bridge). Each
// node and the outside know the routes to all pod CIDRs. What has no route ends
// at the outside switch, which says so: a leak is Unreachable, not Silent.
//
// # Servers
//
//	srv, err := pod.Serve(testnet.TCP, 8080)        // also UDP, SCTP; on all the host's addresses
//	srv, err := pod.ServeHTTP(8080)                 // the body is the line below
//	srv, err := host.ServeAs("name", testnet.UDP, addrPort)
//
// A server tells each client its name and the client's address as it saw it, in
// one line ("a1 192.0.2.10:41000"), when a connection opens or a datagram comes,
// and then echoes (TCP). srv.Hits() counts, srv.Close() stops and resets.
//
// # Clients
//
//	o := client.Probe(testnet.TCP, addrPort)                       // one attempt
//	o := client.ProbeWith(testnet.UDP, addrPort, testnet.ProbeOptions{Source: ap, Timeout: d})
//	o.Kind    // Answered, Refused (RST, ICMP port unreachable), Unreachable (other ICMP, no route), Silent, Broken
//	o.Server, o.Client, o.Source, o.Latency, o.Err
//	d := client.Distribution(testnet.TCP, addrPort, 1000)          // d.Servers["a1"], d.Failed, d.MaxDeviation()
//	f := client.Flood(ctx, testnet.FloodOptions{Dst: addrPort})    // new connections until ctx ends; f.Report(), f.Wait()
//	h, err := client.Hold(ctx, testnet.HoldOptions{...})           // long-lived conversations; h.Report(), h.Wait()
//	conn, err := client.DialContext(ctx, "tcp", "10.96.0.1:80")    // for http.Transport and the like
//	ln, err := host.Listen("tcp", "10.244.0.11:8080")              // also ListenPacket
//
// The node itself is a Host too: node.Probe is a local process of the node.
//
// # Processes
//
//	out, err := node.Run("nft", "list", "ruleset")  // waits; stdout, stderr in the error
//	err := node.LoadNFT("table inet x { ... }")     // with the nft binary
//	p, err := node.Start(exec.Command("bin/kube-vmap", "run", ...))   // p.Kill(), p.Signal(sig), p.Wait()
//	node.Path()                                     // for nsenter --net=PATH while debugging
//
// # What is left behind
//
// Nothing. Namespaces have no names: they are held by file descriptors, sockets
// and child processes, and children die with the process, also when it is killed.
package testnet
