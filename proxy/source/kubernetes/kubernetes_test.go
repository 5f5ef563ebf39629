package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/source/convert"
)

func svc(name, ip string, change ...func(*corev1.Service)) *corev1.Service {
	o := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	for _, c := range change {
		c(o)
	}
	return o
}

func endpoints(name string, addrs ...string) *discoveryv1.EndpointSlice {
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name},
			Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: "2026-01-02T03:04:05.5Z"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To[int32](8080)}},
	}
	for _, a := range addrs {
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, NodeName: ptr.To("node-a")})
	}
	return o
}

func node(name, zone string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
}

func cidr(name string, ranges ...string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: ranges}}
}

// populated is an API server with two of everything.
func populated(t testing.TB) *apiServer {
	s := newAPIServer(t)
	s.put(svc("web", "10.96.0.1"))
	s.put(svc("cart", "10.96.0.2"))
	s.put(endpoints("web", "10.244.0.1", "10.244.0.2"))
	s.put(endpoints("cart", "10.244.0.3"))
	s.put(node("node-a", "zone-1"))
	s.put(node("node-b", "zone-2"))
	s.put(cidr("kubernetes", "10.96.0.0/16"))
	s.put(cidr("more", "10.97.0.0/16"))
	return s
}

// Whatever the API server speaks, the beginning is complete before Synced, and
// changes follow.
func TestWatch(t *testing.T) {
	for _, row := range []struct {
		name                  string
		jsonOnly, noStreaming bool
	}{
		{"protobuf, streaming", false, false},
		{"protobuf, lists", false, true},
		{"JSON, streaming", true, false},
		{"JSON, lists", true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := populated(t)
			s.jsonOnly, s.noStreaming = row.jsonOnly, row.noStreaming
			s.put(svc("headless", "None"))
			s.put(svc("name", "", func(o *corev1.Service) { o.Spec.Type, o.Spec.ExternalName = "ExternalName", "example.com" }))
			s.put(svc("others", "10.96.0.9", func(o *corev1.Service) { o.Labels = map[string]string{convert.LabelServiceProxyName: "x"} }))
			w := watching(t, s)
			w.awaitSynced()
			w.beginning()
			w.asksFor(row.noStreaming)

			w.forget()
			s.put(svc("new", "10.96.0.3"))
			s.put(endpoints("web", "10.244.0.1"))
			s.delete("services", "shop", "cart")
			s.put(node("node-a", "zone-3"))
			s.put(node("node-b", "zone-3"))
			s.delete("servicecidrs", "", "kubernetes")
			w.await(func() string {
				return cmp.Diff([]string{"shop/new", "shop/web"}, slices.Sorted(maps.Keys(w.services))) +
					cmp.Diff(1, len(w.slices["shop/web-1"].Endpoints)) + cmp.Diff("zone-3", w.node.Zone) + cmp.Diff("[10.97.0.0/16]", fmt.Sprint(*w.cidrs))
			})
			w.wantTold("+shop/new", "+shop/web-1", "-shop/cart")
		})
	}
}

// beginning holds what was told before Synced to what populated makes.
func (w *watcher) beginning() {
	w.Helper()
	w.wantTold("+shop/cart", "+shop/cart-1", "+shop/web", "+shop/web-1")
	if w.node == nil || w.node.Name != "node-a" || w.node.Zone != "zone-1" {
		w.Errorf("node %v, want node-a in zone-1", w.node)
	}
	if w.cidrs == nil || fmt.Sprint(*w.cidrs) != "[10.96.0.0/16 10.97.0.0/16]" {
		w.Errorf("ServiceCIDRs %v", w.cidrs)
	}
	web := w.slices["shop/web-1"]
	if want := time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC); !web.Triggered.Equal(want) || len(web.Endpoints) != 2 || web.Endpoints[0].Node != "node-a" {
		w.Errorf("slice %+v", web)
	}
}

// asksFor holds the requests to what a proxy may ask of an API server.
func (w *watcher) asksFor(noStreaming bool) {
	w.Helper()
	selectors := map[string][2]string{
		"services":       {"!service.kubernetes.io/service-proxy-name", "spec.clusterIP!=None"},
		"endpointslices": {"!service.kubernetes.io/headless", ""},
		"nodes":          {"", "metadata.name=node-a"},
		"servicecidrs":   {"", ""},
	}
	for resource, want := range selectors {
		lists, watches := w.asked(resource, false), w.asked(resource, true)
		for _, r := range append(lists, watches...) {
			if got := [2]string{r.query.Get("labelSelector"), r.query.Get("fieldSelector")}; got != want {
				w.Errorf("%s: asked with selectors %q, want %q", resource, got, want)
			}
			if !strings.HasPrefix(r.accept, "application/vnd.kubernetes.protobuf") {
				w.Errorf("%s: asked for %s", resource, r.accept)
			}
		}
		if len(watches) == 0 || watches[0].query.Get("sendInitialEvents") != "true" {
			w.Errorf("%s: not asked to stream at first", resource)
		}
		if noStreaming != (len(lists) > 0) {
			w.Errorf("%s: %d lists", resource, len(lists))
		}
	}
}

// A Service that is no longer the proxy's business is gone.
func TestServiceTurnsAway(t *testing.T) {
	s := newAPIServer(t)
	for _, name := range []string{"relabelled", "headless", "external", "stays"} {
		s.put(svc(name, "10.96.0.1"))
	}
	w := watching(t, s)
	w.awaitServices("shop/external", "shop/headless", "shop/relabelled", "shop/stays")
	s.put(svc("relabelled", "10.96.0.1", func(o *corev1.Service) { o.Labels = map[string]string{convert.LabelServiceProxyName: "other"} }))
	s.put(svc("headless", "None"))
	s.put(svc("external", "", func(o *corev1.Service) { o.Spec.Type = "ExternalName" }))
	w.awaitServices("shop/stays")
	s.put(svc("relabelled", "10.96.0.1"))
	w.awaitServices("shop/relabelled", "shop/stays")
}

// Changes that the proxy does not see are not told.
func TestIrrelevantChanges(t *testing.T) {
	s := populated(t)
	w := watching(t, s)
	w.awaitSynced()
	w.forget()
	s.put(svc("web", "10.96.0.1", func(o *corev1.Service) { o.Annotations = map[string]string{"a": "b"} }))
	slice := endpoints("web", "10.244.0.1", "10.244.0.2")
	slice.Annotations[corev1.EndpointsLastChangeTriggerTime] = "2026-01-02T03:04:06Z"
	s.put(slice)
	s.put(endpoints("cart", "10.244.0.4"))
	s.put(svc("last", "10.96.0.9"))
	w.awaitServices("shop/cart", "shop/last", "shop/web")
	w.await(func() string { return cmp.Diff("10.244.0.4", w.slices["shop/cart-1"].Endpoints[0].Addr.String()) })
	w.wantTold("+shop/cart-1", "+shop/last")
}

func TestProblems(t *testing.T) {
	s := newAPIServer(t)
	s.put(svc("web", "10.96.0.1", func(o *corev1.Service) { o.Spec.ExternalIPs = []string{"x"} }))
	w := watching(t, s)
	ref := model.ObjectRef{Kind: "Service", Namespace: "shop", Name: "web"}
	w.await(func() string { return cmp.Diff(1, len(w.problems[ref])) })
	s.put(svc("web", "10.96.0.1"))
	w.await(func() string { return cmp.Diff(0, len(w.problems)) })
	s.put(svc("web", "10.96.0.1", func(o *corev1.Service) { o.Spec.ExternalIPs = []string{"x"} }))
	w.await(func() string { return cmp.Diff(1, len(w.problems[ref])) })
	s.delete("services", "shop", "web")
	w.await(func() string { return cmp.Diff(0, len(w.problems)) + cmp.Diff(0, len(w.services)) })
}

// A watch that ends goes on where it was, without a list.
func TestDisconnect(t *testing.T) {
	s := populated(t)
	w := watching(t, s)
	w.awaitSynced()
	w.forget()
	for i := range 5 {
		s.disconnect()
		s.put(svc(fmt.Sprintf("new-%d", i), "10.96.0.3"))
		w.await(func() string { return cmp.Diff(3+i, len(w.services)) })
	}
	w.wantTold("+shop/new-0", "+shop/new-1", "+shop/new-2", "+shop/new-3", "+shop/new-4")
	if lists := s.asked("services", false); len(lists) > 0 {
		t.Errorf("%d lists", len(lists))
	}
}

// A bookmark moves the version that a watch goes on from.
func TestBookmark(t *testing.T) {
	s := populated(t)
	w := watching(t, s)
	w.awaitSynced()
	var version uint64
	s.change(objectKey{resource: "services"}, nil)
	s.do(func() { version = s.version })
	s.put(svc("new", "10.96.0.3")) // once this is told, so was the bookmark
	w.awaitServices("shop/cart", "shop/new", "shop/web")
	s.disconnect()
	w.await(func() string {
		watches := s.asked("services", true)
		return cmp.Diff(fmt.Sprint(version+1), watches[len(watches)-1].query.Get("resourceVersion"))
	})
}

// After a history that is lost, a list tells what was missed, and only that.
func TestGone(t *testing.T) {
	for _, noStreaming := range []bool{false, true} {
		t.Run(fmt.Sprintf("noStreaming=%t", noStreaming), func(t *testing.T) {
			s := populated(t)
			s.noStreaming = noStreaming
			w := watching(t, s)
			w.awaitSynced()
			s.put(svc("web", "10.96.0.7")) // a watch that has told nothing yet begins anew
			s.put(endpoints("cart", "10.244.0.8"))
			w.await(func() string {
				return cmp.Diff("10.96.0.7", w.services["shop/web"].ClusterIPs[0].String()) + cmp.Diff(1, len(w.slices["shop/cart-1"].Endpoints)) +
					cmp.Diff("10.244.0.8", w.slices["shop/cart-1"].Endpoints[0].Addr.String())
			})
			w.forget()
			s.loseHistory(func() {
				s.set(objectKey{"services", "shop", "cart"}, nil)
				s.set(objectKey{"endpointslices", "shop", "cart-1"}, nil)
				s.set(objectKey{"services", "shop", "new"}, svc("new", "10.96.0.3"))
				s.set(objectKey{"endpointslices", "shop", "web-1"}, endpoints("web", "10.244.0.9"))
			})
			w.await(func() string {
				return cmp.Diff([]string{"shop/new", "shop/web"}, slices.Sorted(maps.Keys(w.services))) +
					cmp.Diff("10.244.0.9", w.slices["shop/web-1"].Endpoints[0].Addr.String()) + cmp.Diff(1, len(w.slices))
			})
			w.wantTold("+shop/new", "+shop/web-1", "-shop/cart", "-shop/cart-1")
			s.do(func() {
				if s.gone == 0 {
					t.Error("no watch was told that its history is lost")
				}
			})
		})
	}
}

// A list that breaks off is not taken for a list.
func TestListBreaksOff(t *testing.T) {
	s := populated(t)
	s.cutInitial = 12
	w := watching(t, s)
	w.awaitSynced()
	w.beginning()

	w.forget()
	s.do(func() { s.cutInitial = 12 })
	s.loseHistory(func() { s.set(objectKey{"services", "shop", "new"}, svc("new", "10.96.0.3")) })
	w.awaitServices("shop/cart", "shop/new", "shop/web")
	s.do(func() {
		if s.cutInitial > 0 {
			t.Errorf("%d streams were not broken off", s.cutInitial)
		}
	})
	w.wantTold("+shop/new")
}

// While the API server is away nothing changes, however long and in whatever way.
func TestOutage(t *testing.T) {
	s := populated(t)
	w := watching(t, s)
	w.awaitSynced()
	w.forget()
	address := s.address
	s.stop()
	w.awaitLog("Can't list or watch; what was delivered stays in force", `"resource"="services"`)
	s.delete("services", "shop", "cart")
	s.put(svc("missed", "10.96.0.3"))
	w.wantTold()
	s.start(address)
	w.awaitLog("Listing and watching again", `"resource"="services"`)
	s.put(svc("new", "10.96.0.3"))
	w.awaitServices("shop/missed", "shop/new", "shop/web")
	w.wantTold("+shop/missed", "+shop/new", "-shop/cart")
	if w.synced != 1 {
		t.Errorf("Synced was called %d times", w.synced)
	}
}

// An API server that is not there yet is waited for, and the source ends meanwhile
// when it is told to.
func TestBeginsWithoutAPIServer(t *testing.T) {
	s := populated(t)
	address := s.address
	s.stop()
	w := watching(t, s)
	w.awaitLog("Can't list or watch", "connection refused")
	if w.synced != 0 {
		t.Error("Synced without an API server")
	}
	ends := watching(t, s)
	ends.awaitLog("connection refused")
	ends.stop()
	s.start(address)
	w.awaitSynced()
	w.beginning()
}

func TestForbidden(t *testing.T) {
	s := populated(t)
	s.forbidden["endpointslices"] = true
	w := watching(t, s)
	w.awaitLog("A permission is missing: let the proxy's service account list and watch this resource in the whole cluster", `"resource"="endpointslices.discovery.k8s.io"`)
	w.awaitServices("shop/cart", "shop/web")
	if w.synced != 0 {
		t.Error("Synced without EndpointSlices")
	}
	s.do(func() { s.forbidden["endpointslices"] = false })
	w.awaitSynced()
	w.beginning()
}

// ServiceCIDRs are not in every cluster, nor may every proxy read them.
func TestServiceCIDRsComeAndGo(t *testing.T) {
	s := populated(t)
	s.noCIDRs = true
	w := watching(t, s)
	w.awaitSynced()
	w.await(func() string { return cmp.Diff("[]", fmt.Sprint(*w.cidrs)) })
	s.do(func() { s.noCIDRs = false })
	w.await(func() string { return cmp.Diff("[10.96.0.0/16 10.97.0.0/16]", fmt.Sprint(*w.cidrs)) })
	s.do(func() { s.noCIDRs = true })
	s.disconnect()
	w.await(func() string { return cmp.Diff("[]", fmt.Sprint(*w.cidrs)) })
	s.do(func() { s.noCIDRs = false })
	w.await(func() string { return cmp.Diff("[10.96.0.0/16 10.97.0.0/16]", fmt.Sprint(*w.cidrs)) })
	if w.synced != 1 {
		t.Errorf("Synced was called %d times", w.synced)
	}
}

func TestServiceCIDRsForbidden(t *testing.T) {
	s := populated(t)
	s.forbidden["servicecidrs"] = true
	w := watching(t, s)
	w.awaitSynced()
	w.awaitLog("A permission is missing", `"resource"="servicecidrs.networking.k8s.io"`)
	if w.cidrs != nil {
		t.Errorf("told of ServiceCIDRs %v that may not be read", *w.cidrs)
	}
}

// The Node may come later and go; it is never taken away from the proxy.
func TestNodeComesAndGoes(t *testing.T) {
	s := newAPIServer(t)
	w := watching(t, s)
	w.awaitSynced()
	if w.node != nil {
		t.Errorf("told of node %v", w.node)
	}
	s.put(node("node-a", "zone-1"))
	w.await(func() string { return cmp.Diff(true, w.node != nil) })
	s.delete("nodes", "", "node-a")
	s.put(svc("new", "10.96.0.3"))
	w.awaitServices("shop/new")
	s.put(node("node-a", "zone-2"))
	w.await(func() string { return cmp.Diff("zone-2", w.node.Zone) })
}

func TestServiceProxyName(t *testing.T) {
	s := newAPIServer(t)
	c, err := newCluster(s.config(), Options{NodeName: "node-a", ServiceProxyName: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.resources[0].labelSelector; got != "service.kubernetes.io/service-proxy-name=mine" {
		t.Errorf("Services are selected by %q", got)
	}
}

// Under another name other Services are taken, in one update, and what is the same
// is not told again.
func TestServiceProxyNameChanges(t *testing.T) {
	s := populated(t)
	mine := func(o *corev1.Service) { o.Labels = map[string]string{convert.LabelServiceProxyName: "mine"} }
	s.put(svc("other", "10.96.0.3", mine))
	w := watching(t, s)
	w.awaitSynced()
	w.awaitServices("shop/cart", "shop/web")
	w.forget()
	<-w.cluster.SetServiceProxyName("mine")
	w.awaitServices("shop/other")
	w.wantTold("+shop/other", "-shop/cart", "-shop/web")
	s.put(svc("web", "10.96.0.1", mine))
	w.awaitServices("shop/other", "shop/web")
	theirs, again := w.cluster.SetServiceProxyName("theirs"), w.cluster.SetServiceProxyName("")
	<-theirs
	<-again
	w.awaitServices("shop/cart")
	if w.synced != 1 {
		t.Errorf("Synced was called %d times", w.synced)
	}
}

func TestNewNeedsANodeName(t *testing.T) {
	if _, err := New(newAPIServer(t).config(), Options{}); err == nil || !strings.Contains(err.Error(), "node's name is empty") {
		t.Errorf("error %v", err)
	}
}
