// Package nft holds nftables objects as plain values: tables, chains, rules,
// statements, sets, maps and elements, the text in which nft prints and loads
// them, and the transactions that turn one table into another.
//
// The package is pure: it opens no socket and reads no clock. Each statement
// keeps its nft text and its bytecode side by side (statement*.go), so that a
// rendered table and a programmed one can't drift apart; package nft/kernel
// sends and reads the bytecode, and its tests prove on a real kernel that both
// list the same.
//
// The package knows nothing of Kubernetes. It speaks only of the inet family,
// the only one kube-vmap uses.
package nft
