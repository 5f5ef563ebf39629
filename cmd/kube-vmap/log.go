package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
)

// logFlags choose how the log looks and how much it says.
type logFlags struct {
	format    string
	verbosity int

	level slog.LevelVar // of the logger; it can change
}

func (f *logFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.format, "log-format", "text", "format of the log: text or json")
	fs.IntVarP(&f.verbosity, "v", "v", 0, "how much the log says: 0 events, 2 a line per transaction, 4 each operation")
}

// logger makes the log. A logr verbosity n is level -n of slog.
func (f *logFlags) logger(w io.Writer) (logr.Logger, error) {
	f.level.Set(slog.Level(-f.verbosity))
	opts := &slog.HandlerOptions{Level: &f.level, ReplaceAttr: levelNames}
	switch f.format {
	case "text":
		return logr.FromSlogHandler(slog.NewTextHandler(w, opts)), nil
	case "json":
		return logr.FromSlogHandler(slog.NewJSONHandler(w, opts)), nil
	}
	return logr.Discard(), fmt.Errorf("--log-format=%s: must be text or json", f.format)
}

// levelNames prints verbosities as V2 instead of slog's "DEBUG+2".
func levelNames(_ []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && level < slog.LevelInfo {
		a.Value = slog.StringValue(fmt.Sprintf("V%d", -level))
	}
	return a
}
