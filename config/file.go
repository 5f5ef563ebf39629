package config

import (
	"bytes"
	"context"
	"os"
	"time"
)

// filePeriod is how often the file is read. It is small, and to read it costs less
// than to follow the links by which a kubelet replaces the files of a ConfigMap.
const filePeriod = time.Second

// readFile reads the file for the first time.
func (f *Follower) readFile() error {
	data, err := os.ReadFile(f.opts.File)
	if err != nil {
		return fileError(f.opts.File, err)
	}
	o, err := ReadFile(data)
	if err != nil {
		return fileError(f.opts.File, err)
	}
	f.inputs.file = o
	return nil
}

// followFile reads the file again and again until the context ends. One that is
// gone or invalid leaves the last good one in force.
func (f *Follower) followFile(ctx context.Context) {
	tick := time.NewTicker(filePeriod)
	defer tick.Stop()
	var last []byte
	var lastErr string
	for {
		data, err := os.ReadFile(f.opts.File)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !bytes.Equal(data, last) || text != lastErr {
			last, lastErr = data, text
			f.takeFile(data, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (f *Follower) takeFile(data []byte, err error) {
	o, invalid := ReadFile(data)
	if err == nil {
		err = invalid
	}
	f.change(func(in *inputs) {
		if in.fileErr = nil; err != nil {
			in.fileErr = fileError(f.opts.File, err)
			return
		}
		in.file = o
	})
}
