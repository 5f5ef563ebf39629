package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestOnlyLocal: what is said of Services is not for the network.
func TestOnlyLocal(t *testing.T) {
	handler := onlyLocal(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for client, want := range map[string]int{
		"127.0.0.1:40000": 200, "[::1]:40000": 200, "[::ffff:127.0.0.1]:40000": 200,
		"192.0.2.1:40000": 403, "[fd00::1]:40000": 403, "10.244.0.5:1": 403, "": 403,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/status", http.NoBody)
		r.RemoteAddr = client
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: %d, want %d", client, w.Code, want)
		}
	}
}

// TestThrottle: the second answer waits for the pause after the first.
func TestThrottle(t *testing.T) {
	limit := &throttle{pause: 50 * time.Millisecond}
	var times []time.Time
	handler := limit.limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { times = append(times, time.Now()) }))
	for range 2 {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/diff", http.NoBody))
	}
	if len(times) != 2 || times[1].Sub(times[0]) < limit.pause {
		t.Errorf("%v", times)
	}
}
