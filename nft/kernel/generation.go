package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Generation counts the commits in a network namespace, of all processes. The
// kernel names the process that asks, not the one that committed last.
type Generation struct {
	ID      uint32 // never 0
	PID     uint32 // of the thread; of a program with one thread, of the process
	Process string
}

// Generation reads the number of the current generation.
func (c *Conn) Generation() (Generation, error) {
	var g Generation
	err := c.get(unix.NFT_MSG_GETGEN, func(*buffer) {}, func(typ uint16, attributes []byte) {
		if typ == unix.NFT_MSG_NEWGEN {
			g = parseGeneration(attributes)
		}
	})
	if err == nil && g.ID == 0 {
		err = errors.New("the kernel's answer is lost")
	}
	if err != nil {
		return Generation{}, fmt.Errorf("read generation: %w", err)
	}
	return g, nil
}

func parseGeneration(attributes []byte) (g Generation) {
	for typ, data := range attrs(attributes) {
		switch typ {
		case unix.NFTA_GEN_ID:
			g.ID = readUint32(data)
		case unix.NFTA_GEN_PROC_PID:
			g.PID = readUint32(data)
		case unix.NFTA_GEN_PROC_NAME:
			g.Process = string(trimNUL(data))
		}
	}
	return g
}
