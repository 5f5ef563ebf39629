package main

import (
	"slices"
	"time"
)

// Quantiles sums up samples of a time, in milliseconds.
type Quantiles struct {
	Samples int     `json:"samples"`
	P50     float64 `json:"p50_ms"`
	P90     float64 `json:"p90_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// quantilesOf sorts the samples.
func quantilesOf(samples []time.Duration) Quantiles {
	if len(samples) == 0 {
		return Quantiles{}
	}
	slices.Sort(samples)
	at := func(q float64) float64 {
		return milliseconds(samples[min(int(q*float64(len(samples))), len(samples)-1)])
	}
	return Quantiles{Samples: len(samples), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// median leaves the samples in their order.
func median(samples []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
