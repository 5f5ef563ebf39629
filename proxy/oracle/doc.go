// Package oracle says what must become of a packet to a Service: who may answer,
// with which source address, or that it is refused or gets no answer. It is
// written from the description of Services, straight and slow, case by case, and
// shares nothing with the code that programs the kernel: no table, no maps, no
// slots. Its tests send real packets through a real kernel that the real proxy
// has programmed, from every kind of source to every kind of frontend under
// every policy, and compare.
//
//	go test ./proxy/oracle -run Matrix -count=1 -v
//
// The sources are the API's own descriptions: KEP-1669, KEP-2086, KEP-2433 and
// KEP-3015, and the documentation of Services and of kube-proxy's configuration.
package oracle
