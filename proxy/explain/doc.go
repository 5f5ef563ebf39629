// Package explain says what becomes of a connection to an address and port, and
// why: from what the kernel's table has for it, and from the objects that it was
// made of, if they are known. Everything here is a function of values.
//
//	Query, Kernel (the table), Objects ──► Explain ──► Answer
//
// The verdicts come from the table alone, since that is what packets meet. The
// objects give the reasons.
package explain
