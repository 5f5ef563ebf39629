package config

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// server is an API server that has ProxyConfigs, or not.
type server struct {
	mu      sync.Mutex
	code    int      // of every answer; 200: it has them
	objects []string // as JSON
	version int
	cut     chan struct{} // closed when the version is history
}

func (s *server) set(code int, objects ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.objects = code, objects
	s.version++
	close(s.cut) // whoever watches lists again
	s.cut = make(chan struct{})
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	code, objects, cut, version := s.code, s.objects, s.cut, fmt.Sprint(s.version)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Query().Get("sendInitialEvents") == "true" && code == http.StatusOK:
		code = http.StatusUnprocessableEntity // as a server without watch lists
		fallthrough
	case code != http.StatusOK:
		w.WriteHeader(code)
		reason := map[int]metav1.StatusReason{404: metav1.StatusReasonNotFound, 403: metav1.StatusReasonForbidden, 422: metav1.StatusReasonInvalid}[code]
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(code), Reason: reason, Message: "no"})
	case r.URL.Query().Get("watch") == "true":
		w.(http.Flusher).Flush()
		if r.URL.Query().Get("resourceVersion") == version {
			select {
			case <-r.Context().Done():
			case <-cut:
			}
		}
		if r.Context().Err() == nil {
			fmt.Fprint(w, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired"}}`)
		}
	default:
		fmt.Fprintf(w, `{"apiVersion":"kube-vmap.io/v1alpha1","kind":"ProxyConfigList","metadata":{"resourceVersion":%q},"items":[%s]}`, version, strings.Join(objects, ","))
	}
}

func asJSON(name, spec string) string {
	return fmt.Sprintf(`{"apiVersion":"kube-vmap.io/v1alpha1","kind":"ProxyConfig","metadata":{"name":%q,"uid":%q,"generation":3,"resourceVersion":"5"},"spec":%s}`, name, name, spec)
}

// Where the API server has no ProxyConfigs that is told once, and they are found
// when they appear; what it has and can't be read comes with an error.
func TestWatch(t *testing.T) {
	s := &server{code: http.StatusNotFound, cut: make(chan struct{})}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	client, err := dynamic.NewForConfig(&rest.Config{Host: web.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lines []string
	log := funcr.New(func(_, args string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, args)
	}, funcr.Options{})
	delivered := make(chan []Object, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = watchWith(client, logr.New(log.GetSink()), pauses{5 * time.Millisecond, 5 * time.Millisecond})(ctx, func(o []Object) { delivered <- o })
	}()
	defer func() { cancel(); web.CloseClientConnections(); <-done }()
	await := func(what string, is func([]Object) bool) {
		t.Helper()
		for deadline := time.After(20 * time.Second); ; {
			select {
			case o := <-delivered:
				if is(o) {
					return
				}
			case <-deadline:
				mu.Lock()
				defer mu.Unlock()
				t.Fatalf("not delivered: %s; %q", what, lines)
			}
		}
	}
	none := func(o []Object) bool { return len(o) == 0 }
	await("none", none)
	await("none again", none)
	s.set(http.StatusOK, asJSON("default", `{"coalesce":"10ms","fieldOfNewerAgents":1}`))
	await("the first", func(o []Object) bool {
		return len(o) == 1 && o[0].Err == nil && *o[0].Spec.Coalesce == "10ms" && o[0].Generation == 3
	})
	s.set(http.StatusOK, asJSON("default", `{"coalesce":"10ms"}`), asJSON("bad", `{"coalesce":5}`))
	await("a bad one", func(o []Object) bool {
		bad := 0
		for i := range o {
			if o[i].Name == "bad" && o[i].Err != nil {
				bad++
			}
		}
		return len(o) == 2 && bad == 1
	})
	s.set(http.StatusNotFound)
	await("none, since the definition is deleted", none)
	mu.Lock()
	defer mu.Unlock()
	absent := 0
	for _, line := range lines {
		if strings.Contains(line, "does not have them (yet)") {
			absent++
		}
	}
	if absent != 2 {
		t.Errorf("told %d times that there are none: %q", absent, lines)
	}
}
