package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	urlpath "path"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// apiServer lists and watches objects in JSON, as much as an agent needs, and can
// be taken away. It listens on the node itself.
type apiServer struct {
	node    *testnet.Host
	address string
	server  *http.Server

	mu      sync.Mutex
	news    chan struct{} // closed at the next change
	version int
	objects map[string]map[string]object // by resource, and namespace/name
	history []change
	oldest  int // no watch can begin before this version
}

// change is one event of a watch.
type change struct {
	version  int
	resource string
	event    object
}

// resourceOf is what an agent follows, by kind.
var resourceOf = map[string]string{
	"Service": "services", "EndpointSlice": "endpointslices", "Node": "nodes", "ServiceCIDR": "servicecidrs",
}

func newAPIServer(node *testnet.Host) (*apiServer, error) {
	a := &apiServer{node: node, address: "127.0.0.1:0", news: make(chan struct{}), objects: map[string]map[string]object{}}
	for _, resource := range resourceOf {
		a.objects[resource] = map[string]object{}
	}
	return a, a.start()
}

// start serves, at the same address again after a stop.
func (a *apiServer) start() error {
	var l net.Listener
	if err := a.node.Do(func() (err error) {
		l, err = net.Listen("tcp", a.address)
		return err
	}); err != nil {
		return err
	}
	a.address = l.Addr().String()
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	go func() { _ = a.server.Serve(l) }() // until stop
	return nil
}

// stop ends all connections, and takes no new ones.
func (a *apiServer) stop() error { return a.server.Close() }

// forget loses the history: who was away must list again.
func (a *apiServer) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.history, a.oldest = nil, a.version
}

// kubeconfig writes the file that leads an agent here.
func (a *apiServer) kubeconfig(file string) error {
	return os.WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://%s"}}]
users: [{name: u, user: {}}]
`, a.address), 0o600)
}

// put adds objects, or replaces those of the same names.
func (a *apiServer) put(objects ...object) {
	for _, o := range objects {
		a.set(resourceOf[o["kind"].(string)], o, false)
	}
}

func (a *apiServer) remove(objects ...object) {
	for _, o := range objects {
		a.set(resourceOf[o["kind"].(string)], o, true)
	}
}

func (a *apiServer) set(resource string, o object, gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	meta := o["metadata"].(object)
	namespace, _ := meta["namespace"].(string)
	name := urlpath.Join(namespace, meta["name"].(string))
	a.version++
	meta["resourceVersion"] = strconv.Itoa(a.version)
	all := a.objects[resource]
	kind := "MODIFIED"
	switch {
	case gone:
		kind = "DELETED"
		delete(all, name)
	case all[name] == nil:
		kind = "ADDED"
	}
	if !gone {
		all[name] = o
	}
	a.history = append(a.history, change{a.version, resource, object{"type": kind, "object": o}})
	close(a.news)
	a.news = make(chan struct{})
}

// ServeHTTP answers lists, watches, discovery of service CIDRs, and events, of
// which it keeps nothing.
func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource := urlpath.Base(r.URL.Path)
	switch {
	case r.Method == http.MethodPost || r.Method == http.MethodPatch:
		answer(w, http.StatusCreated, object{"apiVersion": "v1", "kind": "Event", "metadata": object{"name": "noted"}})
	case r.URL.Path == "/apis/networking.k8s.io/v1":
		answer(w, http.StatusOK, object{"kind": "APIResourceList", "resources": []object{{"name": "servicecidrs"}}})
	case a.objects[resource] == nil:
		answer(w, http.StatusNotFound, refusal(http.StatusNotFound, "NotFound"))
	case r.URL.Query().Get("sendInitialEvents") == "true": // as servers without it say
		answer(w, http.StatusUnprocessableEntity, refusal(http.StatusUnprocessableEntity, "Invalid"))
	case r.URL.Query().Get("watch") != "":
		a.watch(w, r, resource)
	default:
		answer(w, http.StatusOK, a.list(resource))
	}
}

func refusal(code int, reason string) object {
	return object{"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason}
}

func answer(w http.ResponseWriter, code int, o object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o)
}

func (a *apiServer) list(resource string) object {
	a.mu.Lock()
	defer a.mu.Unlock()
	items, kind, version := []object{}, "", "v1"
	for k, r := range resourceOf {
		if r == resource {
			kind = k
		}
	}
	for _, o := range a.objects[resource] {
		items, version = append(items, o), o["apiVersion"].(string)
	}
	return object{"apiVersion": version, "kind": kind + "List", "items": items,
		"metadata": object{"resourceVersion": strconv.Itoa(a.version)}}
}

// watch streams what happens after a version, until the connection ends.
func (a *apiServer) watch(w http.ResponseWriter, r *http.Request, resource string) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	for {
		changes, news, expired := a.since(from)
		if expired || err != nil {
			_ = out.Encode(object{"type": "ERROR", "object": refusal(http.StatusGone, "Expired")})
			return
		}
		for _, c := range changes {
			from = c.version
			if c.resource == resource && out.Encode(c.event) != nil {
				return
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-news:
		case <-r.Context().Done():
			return
		}
	}
}

// since are the changes after a version, and what is closed at the next one.
func (a *apiServer) since(version int) (changes []change, news chan struct{}, expired bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if version < a.oldest {
		return nil, nil, true
	}
	at, _ := slices.BinarySearchFunc(a.history, version+1, func(c change, v int) int { return c.version - v })
	return slices.Clone(a.history[at:]), a.news, false
}

// onClusters are the faults that need an API server.
var onClusters = []fault{
	{"API server down while endpoints change", 2, (*adversary).downtime},
	{"API server down while the agent starts", 1, (*adversary).startWithoutServer},
	{"watches ended", 1, (*adversary).endWatches},
}

// downtime takes the API server away while endpoints change; half of the time it
// comes back without its history.
func (a *adversary) downtime(ctx context.Context) error {
	api := a.cluster.api
	if err := api.stop(); err != nil {
		return err
	}
	if err := a.cluster.burst(a.rng, 50+a.rng.IntN(200)); err != nil {
		return err
	}
	pause(ctx, time.Duration(a.rng.IntN(500))*time.Millisecond)
	if a.rng.IntN(2) == 0 {
		api.forget()
	}
	return api.start()
}

// startWithoutServer kills the agent and starts it while the API server is away.
func (a *adversary) startWithoutServer(ctx context.Context) error {
	a.restarts++
	if err := a.cluster.api.stop(); err != nil {
		return err
	}
	if err := a.agent.stop(true); err != nil {
		return err
	}
	if err := a.start(); err != nil {
		return err
	}
	err := a.cluster.burst(a.rng, 50+a.rng.IntN(200))
	pause(ctx, time.Duration(a.rng.IntN(500))*time.Millisecond)
	if err != nil {
		return err
	}
	if err := a.cluster.api.start(); err != nil {
		return err
	}
	return a.agent.ready(ctx)
}

// endWatches ends all connections to the API server, in the midst of changes.
func (a *adversary) endWatches(context.Context) error {
	if err := a.cluster.burst(a.rng, 50); err != nil {
		return err
	}
	if err := a.cluster.api.stop(); err != nil {
		return err
	}
	if err := a.cluster.api.start(); err != nil {
		return err
	}
	return a.cluster.burst(a.rng, 50)
}
