package kernel

import (
	"errors"
	"fmt"

	"github.com/kube-vmap/kube-vmap/nft"
	"golang.org/x/sys/unix"
)

// CanPersist reports whether the kernel has tables with an owner that outlive it:
// the table flags owner and persist together (kernel 6.9). It tries, since
// distributions bring features to older kernels: it adds such a table and deletes
// it in the same batch, so that it never exists.
func (c *Conn) CanPersist() (bool, error) {
	s, err := c.writer.open()
	if err != nil {
		return false, err
	}
	probe := &nft.Table{Name: "kube-vmap-probe", Owned: true, Persist: true}
	// With something in between, the table is added with its flags.
	operations := []nft.Operation{
		{Kind: nft.AddTable},
		{Kind: nft.AddChain, Chain: &nft.Chain{Name: "probe"}},
		{Kind: nft.DeleteTable},
	}
	c.batch.begin(probe, operations, s.maxBatch)
	_, err = c.commitBatches(s)
	c.batch.release()
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("try a table with the flags owner and persist: %w", err)
	}
	return true, nil
}
