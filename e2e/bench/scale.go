package main

import (
	"fmt"
	"strconv"
	"strings"
)

// Scale is the size of a cluster: so many Services with so many endpoints each.
type Scale struct{ Services, Endpoints int }

func (s Scale) String() string { return fmt.Sprintf("%dx%d", s.Services, s.Endpoints) }

// Total is the number of endpoints.
func (s Scale) Total() int { return s.Services * s.Endpoints }

// maxServices is what the service CIDR of the benchmark has room for.
const maxServices = 60_000

// parseScales reads a list such as "1000x10,10000x10".
func parseScales(text string) ([]Scale, error) {
	var scales []Scale
	for part := range strings.SplitSeq(text, ",") {
		services, endpoints, ok := strings.Cut(strings.TrimSpace(part), "x")
		s, err1 := strconv.Atoi(services)
		e, err2 := strconv.Atoi(endpoints)
		if !ok || err1 != nil || err2 != nil || s < 1 || s > maxServices || e < 1 || e > 1000 {
			return nil, fmt.Errorf("parse scale %q: must be SERVICESxENDPOINTS, as in 1000x10, with at most %d Services of 1 to 1000 endpoints",
				part, maxServices)
		}
		scales = append(scales, Scale{s, e})
	}
	return scales, nil
}
