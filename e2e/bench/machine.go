package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
)

func readText(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// output is what a command prints, or why it does not.
func output(name string, args ...string) string {
	b, err := exec.Command(name, args...).Output()
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

func processorName() string {
	for line := range strings.Lines(readText("/proc/cpuinfo")) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), ":"))
		}
	}
	return "unknown processor"
}

// loadAverage is that of the last minute.
func loadAverage() float64 {
	first, _, _ := strings.Cut(readText("/proc/loadavg"), " ")
	f, _ := strconv.ParseFloat(first, 64)
	return f
}
