package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kube-vmap/kube-vmap/config"
	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// DefaultInterval is how often a node is reported at most.
const DefaultInterval = time.Minute

// Options say whose agent is told of.
type Options struct {
	Client          dynamic.Interface
	Version, Kernel string
	Interval        time.Duration // less than a second: DefaultInterval

	Status func(context.Context) (proxy.Status, error)
	Config func() config.Report
	Node   func() *model.Node // the own Node; nil while it is not known
	Log    logr.Logger
}

// Reporter writes a node's ProxyNode. New makes it.
type Reporter struct {
	Options
	client   dynamic.ResourceInterface
	schedule schedule
	begun    time.Time

	last    *v1alpha1.ProxyNodeStatus // as it is in the cluster; nil: not known
	pending bool                      // the table was not up to date when it was looked at last
	told    string                    // which error
}

// New makes a reporter.
func New(o Options) *Reporter {
	if o.Interval < time.Second {
		o.Interval = DefaultInterval
	}
	return &Reporter{
		Options: o, begun: time.Now(),
		client:   o.Client.Resource(v1alpha1.GroupVersion.WithResource(v1alpha1.ProxyNodes)),
		schedule: schedule{interval: o.Interval, random: rand.N[time.Duration]},
	}
}

// Run reports until the context ends. What it can't write it tries again.
func (r *Reporter) Run(ctx context.Context) error {
	tick := time.NewTicker(r.Interval / 20)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := r.look(ctx, time.Now()); err != nil && ctx.Err() == nil {
				r.failed(err)
			}
		}
	}
}

// look reports if there is something to report.
func (r *Reporter) look(ctx context.Context, now time.Time) error {
	node := r.Node()
	if node == nil || node.UID == "" {
		return nil
	}
	s, err := r.Status(ctx)
	if err != nil {
		return err
	}
	if !s.Ready && r.last == nil && now.Before(r.begun.Add(r.Interval/2)) {
		return nil // it is about to be
	}
	s.Synced, r.pending = s.Synced || !r.pending && (s.LastError == nil || !s.LastError.Lasting), !s.Synced
	status := r.status(&s, now)
	if !r.schedule.isDue(now, compare(&status, r.last)) {
		return nil
	}
	defer r.schedule.tried(now)
	if r.last == nil {
		if err := r.adopt(ctx, node); err != nil {
			return err
		}
		status = r.status(&s, now)
	}
	return r.write(ctx, node, &status)
}

func (r *Reporter) status(s *proxy.Status, now time.Time) v1alpha1.ProxyNodeStatus {
	c := r.Config()
	var before []metav1.Condition
	if r.last != nil {
		before = r.last.Conditions
	}
	status := statusOf(s, &c, before, now)
	status.AgentVersion, status.KernelRelease = r.Version, r.Kernel
	return status
}

// adopt reads the object that is there, or makes one that goes with the Node.
func (r *Reporter) adopt(ctx context.Context, node *model.Node) error {
	o, err := r.client.Get(ctx, node.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		o, err = r.client.Create(ctx, newProxyNode(node), metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	have := &v1alpha1.ProxyNode{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, have); err != nil {
		return fmt.Errorf("read ProxyNode %s: %w", node.Name, err)
	}
	owners := have.OwnerReferences
	if len(owners) != 1 || string(owners[0].UID) != node.UID {
		// Of a Node of the same name, which was deleted.
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": ownedBy(node)}})
		if err == nil {
			_, err = r.client.Patch(ctx, node.Name, types.MergePatchType, body, metav1.PatchOptions{})
		}
		if err != nil {
			return err
		}
	}
	r.last = &have.Status
	return nil
}

func newProxyNode(node *model.Node) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.KindProxyNode))
	o.SetName(node.Name)
	o.SetOwnerReferences(ownedBy(node))
	return o
}

func ownedBy(node *model.Node) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: types.UID(node.UID)}}
}

// write replaces the status.
func (r *Reporter) write(ctx context.Context, node *model.Node, status *v1alpha1.ProxyNodeStatus) error {
	body, err := json.Marshal([]map[string]any{{"op": "add", "path": "/status", "value": status}})
	if err != nil {
		return err
	}
	_, err = r.client.Patch(ctx, node.Name, types.JSONPatchType, body, metav1.PatchOptions{}, "status")
	if err != nil {
		r.last = nil // it may be gone: look again
		return err
	}
	r.last = status
	if r.told != "" {
		r.told = ""
		r.Log.Info("reporting to the node's ProxyNode again")
	}
	return nil
}

// failed tells of an error once while it lasts.
func (r *Reporter) failed(err error) {
	text := err.Error()
	if errors.Is(err, context.DeadlineExceeded) || text == r.told {
		return
	}
	r.told = text
	if apierrors.IsNotFound(err) {
		r.Log.V(1).Info("the API server has no ProxyNodes (yet)")
		return
	}
	r.Log.Info("can't write the node's ProxyNode", "reason", text)
}
