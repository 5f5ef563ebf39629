// Package simulation holds the tests that play random lives of clusters against
// the real loop of package proxy, in search of a sequence of changes after which
// the table is not what it would be had it been computed from nothing.
//
//	generator ─► history of events ─► proxy.Proxy ─► memory (strict) and a real kernel
//	                     └───────────► world ─► proxy.Render ─► compare after each event
//
// The loop runs in a bubble of testing/synctest: an event is handled when every
// goroutine waits, retries take no real time, and no test has to guess how long
// to wait.
//
//	go test ./proxy/simulation -run Simulation -count=1 -v
//	SIMULATION_SEED=42 SIMULATION_STEPS=100000 go test ./proxy/simulation -run Simulation
//
// A failure prints its seed and the shortest history of events found that still
// fails. The package has no code of its own but tests.
package simulation
