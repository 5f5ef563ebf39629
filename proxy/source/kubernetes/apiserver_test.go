package kubernetes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// apiServer is an API server as a client sees one over HTTP: it lists and watches
// in protobuf and JSON, honours selectors and resource versions, keeps a history
// that can be compacted, streams initial events, and can be taken away.
type apiServer struct {
	t       testing.TB
	http    *httptest.Server
	address string

	mu       sync.Mutex
	changed  *sync.Cond // on mu; something below has changed
	version  uint64
	objects  map[objectKey]runtime.Object
	history  []change
	oldest   uint64 // versions before are compacted
	cut      int    // watches that began before this count of cuts end
	stopped  bool   // so do all
	requests []request
	gone     int // watches that were told to list again

	jsonOnly    bool            // speak no protobuf
	noStreaming bool            // refuse sendInitialEvents, as servers before WatchList do
	noCIDRs     bool            // have no servicecidrs
	forbidden   map[string]bool // resources that may not be read
	cutInitial  int             // so many streams of initial events end in their midst
}

type objectKey struct{ resource, namespace, name string }

// change is one step of the history: before and after, nil where there is nothing.
type change struct {
	version       uint64
	key           objectKey
	before, after runtime.Object
}

// request is what a client asked for.
type request struct {
	resource string
	watch    bool
	query    url.Values
	accept   string
}

func newAPIServer(t testing.TB) *apiServer {
	s := &apiServer{t: t, version: 100, objects: map[objectKey]runtime.Object{}, forbidden: map[string]bool{}}
	s.changed = sync.NewCond(&s.mu)
	s.start("127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

// start serves at the address, the same again after a stop.
func (s *apiServer) start(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	s.http = &httptest.Server{Listener: l, Config: &http.Server{Handler: s}}
	s.do(func() { s.stopped = false })
	s.http.Start()
}

// stop ends all connections and takes no new ones.
func (s *apiServer) stop() {
	s.do(func() { s.stopped = true })
	s.http.CloseClientConnections()
	s.http.Close()
}

// disconnect ends all watches in mid-stream.
func (s *apiServer) disconnect() {
	s.do(func() { s.cut++ })
}

// do changes the server's state.
func (s *apiServer) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.changed.Broadcast()
}

func (s *apiServer) config() *rest.Config { return &rest.Config{Host: "http://" + s.address, QPS: -1} }

func (s *apiServer) put(o runtime.Object) {
	s.t.Helper()
	m, err := meta.Accessor(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.change(keyOf(o, m), o.DeepCopyObject())
}

func (s *apiServer) delete(resource, namespace, name string) {
	s.change(objectKey{resource, namespace, name}, nil)
}

func (s *apiServer) change(key objectKey, after runtime.Object) {
	s.do(func() { s.set(key, after) })
}

// set changes an object; the lock is held.
func (s *apiServer) set(key objectKey, after runtime.Object) {
	s.version++
	before := s.objects[key]
	delete(s.objects, key)
	if after != nil {
		stamp(after, s.version)
		s.objects[key] = after
	}
	s.history = append(s.history, change{s.version, key, before, after})
}

// loseHistory makes changes that no watch will tell of: all end, and the history
// that they would go on from is lost.
func (s *apiServer) loseHistory(changes func()) {
	s.do(func() {
		changes()
		s.history, s.oldest = nil, s.version
		s.cut++
	})
}

// asked is the requests so far.
func (s *apiServer) asked(resource string, isWatch bool) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []request
	for _, r := range s.requests {
		if r.resource == resource && r.watch == isWatch {
			list = append(list, r)
		}
	}
	return list
}

func keyOf(o runtime.Object, m metav1.Object) objectKey {
	return objectKey{resourceOf(o), m.GetNamespace(), m.GetName()}
}

func resourceOf(o runtime.Object) string {
	switch o.(type) {
	case *corev1.Service:
		return "services"
	case *discoveryv1.EndpointSlice:
		return "endpointslices"
	case *corev1.Node:
		return "nodes"
	case *networkingv1.ServiceCIDR:
		return "servicecidrs"
	}
	panic(fmt.Sprintf("%T", o))
}

// stamp sets the resource version and the kind, as in storage.
func stamp(o runtime.Object, version uint64) {
	m, _ := meta.Accessor(o)
	m.SetResourceVersion(strconv.FormatUint(version, 10))
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource := parts[len(parts)-1]
	switch r.URL.Path {
	case "/apis":
		writeJSON(w, metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList"}})
		return
	case "/apis/networking.k8s.io/v1":
		s.discovery(w)
		return
	case "/api/v1/services", "/api/v1/nodes", "/apis/discovery.k8s.io/v1/endpointslices":
	case "/apis/networking.k8s.io/v1/servicecidrs":
		s.mu.Lock()
		absent := s.noCIDRs
		s.mu.Unlock()
		if absent {
			http.Error(w, "404 page not found", http.StatusNotFound)
			return
		}
	default:
		s.t.Errorf("asked for %s", r.URL)
		http.NotFound(w, r)
		return
	}
	query := r.URL.Query()
	isWatch := query.Get("watch") == "true" || query.Get("watch") == "1"
	s.mu.Lock()
	s.requests = append(s.requests, request{resource, isWatch, query, r.Header.Get("Accept")})
	forbidden := s.forbidden[resource]
	s.mu.Unlock()
	media := s.media(r.Header.Get("Accept"))
	switch {
	case forbidden:
		s.refuse(w, media, http.StatusForbidden, metav1.StatusReasonForbidden, fmt.Sprintf("%s is forbidden: User \"proxy\" cannot list resource %q at the cluster scope", resource, resource))
	case isWatch:
		s.watch(w, r, media, resource, query)
	default:
		s.list(w, media, resource, query)
	}
}

func (s *apiServer) discovery(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, APIResources: []metav1.APIResource{{Name: "ingresses"}}}
	if !s.noCIDRs {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: "servicecidrs"})
	}
	writeJSON(w, list)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// media is the form that answers have.
func (s *apiServer) media(accept string) runtime.SerializerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := runtime.ContentTypeProtobuf
	if s.jsonOnly || !strings.HasPrefix(accept, want) {
		want = runtime.ContentTypeJSON
	}
	info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), want)
	if !ok {
		s.t.Fatal(want)
	}
	return info
}

// encode is an object's bytes; protobuf has the API's envelope.
func (s *apiServer) encode(media runtime.SerializerInfo, o runtime.Object) []byte {
	var b bytes.Buffer
	if err := codecs.WithoutConversion().EncoderForVersion(media.Serializer, groupOf(o)).Encode(o, &b); err != nil {
		s.t.Error(err)
	}
	return b.Bytes()
}

func groupOf(o runtime.Object) runtime.GroupVersioner {
	switch o.(type) {
	case *discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList:
		return discoveryv1.SchemeGroupVersion
	case *networkingv1.ServiceCIDR, *networkingv1.ServiceCIDRList:
		return networkingv1.SchemeGroupVersion
	}
	return schema.GroupVersion{Version: "v1"}
}

func (s *apiServer) refuse(w http.ResponseWriter, media runtime.SerializerInfo, code int, reason metav1.StatusReason, message string) {
	w.Header().Set("Content-Type", media.MediaType)
	w.WriteHeader(code)
	_, _ = w.Write(s.encode(media, status(code, reason, message)))
}

func status(code int, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message}
}

// matches reports whether a selector lets an object through.
func (s *apiServer) matches(o runtime.Object, query url.Values) bool {
	m, err := meta.Accessor(o)
	if err != nil {
		s.t.Error(err)
	}
	byLabel, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		s.t.Error(err)
	}
	set := fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()}
	if svc, ok := o.(*corev1.Service); ok {
		set["spec.clusterIP"] = svc.Spec.ClusterIP
	}
	byField, err := fields.ParseSelector(query.Get("fieldSelector"))
	if err != nil {
		s.t.Error(err)
	}
	for _, r := range byField.Requirements() {
		if !set.Has(r.Field) {
			s.t.Errorf("field label not supported: %s", r.Field)
		}
	}
	return byLabel.Matches(labels.Set(m.GetLabels())) && byField.Matches(set)
}

// selected is the objects that match, in the order of their names.
func (s *apiServer) selected(resource string, query url.Values) []runtime.Object {
	var keys []objectKey
	for key, o := range s.objects {
		if key.resource == resource && s.matches(o, query) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b objectKey) int {
		return strings.Compare(a.namespace+"/"+a.name, b.namespace+"/"+b.name)
	})
	var list []runtime.Object
	for _, key := range keys {
		list = append(list, s.objects[key])
	}
	return list
}

func (s *apiServer) list(w http.ResponseWriter, media runtime.SerializerInfo, resource string, query url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list runtime.Object
	switch resource {
	case "services":
		list = &corev1.ServiceList{}
	case "endpointslices":
		list = &discoveryv1.EndpointSliceList{}
	case "nodes":
		list = &corev1.NodeList{}
	case "servicecidrs":
		list = &networkingv1.ServiceCIDRList{}
	}
	if err := meta.SetList(list, s.selected(resource, query)); err != nil {
		s.t.Error(err)
	}
	m, _ := meta.ListAccessor(list)
	m.SetResourceVersion(strconv.FormatUint(s.version, 10))
	w.Header().Set("Content-Type", media.MediaType)
	_, _ = w.Write(s.encode(media, list))
}

// watch streams events until the client goes, or the stream is cut.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, media runtime.SerializerInfo, resource string, query url.Values) {
	streaming := query.Get("sendInitialEvents") == "true"
	s.mu.Lock()
	cut, refuse := s.cut, streaming && s.noStreaming
	s.mu.Unlock()
	if refuse {
		s.refuse(w, media, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
		return
	}
	defer wakeAtEnd(r, s)()
	w.Header().Set("Content-Type", media.MediaType+";stream=watch")
	w.WriteHeader(http.StatusOK)
	out := stream{s, media, w, media.StreamSerializer.NewFrameWriter(w)}
	out.flush()

	s.mu.Lock()
	defer s.mu.Unlock()
	from, err := strconv.ParseUint(query.Get("resourceVersion"), 10, 64)
	if streaming || err != nil {
		from = s.version
		for _, o := range s.selected(resource, query) {
			out.send(watch.Added, o)
			if s.cutInitial > 0 {
				s.cutInitial--
				return
			}
		}
	}
	if streaming {
		out.send(watch.Bookmark, bookmark(resource, from, true))
	}
	if from < s.oldest {
		s.gone++
		out.send(watch.Error, status(http.StatusGone, metav1.StatusReasonExpired, "too old resource version"))
		return
	}
	for s.cut == cut && !s.stopped && r.Context().Err() == nil {
		from = s.sendChanges(out, resource, query, from)
		s.changed.Wait()
	}
}

// wakeAtEnd makes the end of a request wake the watches.
func wakeAtEnd(r *http.Request, s *apiServer) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-r.Context().Done():
		case <-done:
		}
		s.do(func() {})
	}()
	return func() { close(done) }
}

// sendChanges sends what happened after a version, as the selectors see it, and
// returns the version reached.
func (s *apiServer) sendChanges(out stream, resource string, query url.Values, from uint64) uint64 {
	for _, c := range s.history {
		if c.version <= from || c.key.resource != resource {
			continue
		}
		if c.after == nil && c.before == nil { // a bookmark
			out.send(watch.Bookmark, bookmark(resource, c.version, false))
			continue
		}
		was := c.before != nil && s.matches(c.before, query)
		is := c.after != nil && s.matches(c.after, query)
		switch {
		case is && was:
			out.send(watch.Modified, c.after)
		case is:
			out.send(watch.Added, c.after)
		case was:
			gone := c.before.DeepCopyObject()
			stamp(gone, c.version)
			out.send(watch.Deleted, gone)
		}
	}
	return max(from, s.version)
}

// bookmark is the event that tells of a version and nothing else.
func bookmark(resource string, version uint64, initialEnd bool) runtime.Object {
	var o runtime.Object
	switch resource {
	case "services":
		o = &corev1.Service{}
	case "endpointslices":
		o = &discoveryv1.EndpointSlice{}
	case "nodes":
		o = &corev1.Node{}
	case "servicecidrs":
		o = &networkingv1.ServiceCIDR{}
	}
	stamp(o, version)
	if initialEnd {
		m, _ := meta.Accessor(o)
		m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return o
}

// stream writes watch events.
type stream struct {
	*apiServer
	media  runtime.SerializerInfo
	w      http.ResponseWriter
	frames io.Writer
}

func (out stream) send(kind watch.EventType, o runtime.Object) {
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: out.encode(out.media, o)}}
	var b bytes.Buffer
	if err := out.media.StreamSerializer.Encode(event, &b); err != nil {
		out.t.Error(err)
	}
	_, _ = out.frames.Write(b.Bytes())
	out.flush()
}

func (out stream) flush() { out.w.(http.Flusher).Flush() }
