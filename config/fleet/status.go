package fleet

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/config"
	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy"
)

// mostNamed bounds how many quarantined objects are named.
const mostNamed = 5

// statusOf is what an agent tells, by how its proxy does and its configuration.
// before has the conditions with the times when they changed.
func statusOf(s *proxy.Status, c *config.Report, before []metav1.Condition, now time.Time) v1alpha1.ProxyNodeStatus {
	status := v1alpha1.ProxyNodeStatus{
		Services: count(s.Services), Endpoints: count(s.Endpoints), TableOwned: s.Owned,
		Quarantined:   quarantined(s),
		Configuration: v1alpha1.ConfigurationStatus{Hash: c.Running.Hash()},
		Conditions:    slices.Clone(before),
	}
	if t := s.LastTransaction; t != nil {
		at := metav1.NewTime(t.Time.Truncate(time.Second))
		status.LastTransactionTime = &at
	}
	for _, o := range c.Objects {
		status.Configuration.Objects = append(status.Configuration.Objects,
			v1alpha1.ConfigurationObject{Name: o.Name, Generation: o.Generation})
	}
	for _, condition := range []metav1.Condition{ready(s), synced(s), accepted(c)} {
		condition.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	return status
}

func count(n int) int32 { return int32(min(n, math.MaxInt32)) }

// quarantined counts and names objects, each once.
func quarantined(s *proxy.Status) v1alpha1.Quarantined {
	var names []string
	for _, q := range s.Quarantined {
		names = append(names, q.Object)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return v1alpha1.Quarantined{Count: count(len(names)), Objects: names[:min(len(names), mostNamed)]}
}

func ready(s *proxy.Status) metav1.Condition {
	if s.Ready {
		return condition(v1alpha1.ConditionReady, true, "TableComplete", "the table has been complete since "+s.Since.UTC().Format(time.RFC3339))
	}
	return condition(v1alpha1.ConditionReady, false, "Loading", "not all objects have been delivered and programmed yet")
}

func synced(s *proxy.Status) metav1.Condition {
	switch e := s.LastError; {
	case s.Synced:
		return condition(v1alpha1.ConditionSynced, true, "UpToDate", "the table is what the objects ask for")
	case e != nil && e.Lasting:
		return condition(v1alpha1.ConditionSynced, false, "SyncFailed", e.Message)
	}
	return condition(v1alpha1.ConditionSynced, false, "Pending", fmt.Sprintf("Services that are not up to date: %d", s.Pending))
}

// accepted speaks of the object named default, or of the one that is refused.
func accepted(c *config.Report) metav1.Condition {
	if c.Err != nil {
		refused := condition(v1alpha1.ConditionConfigurationAccepted, false, "Refused", c.Err.Error())
		if c.Refused != nil {
			refused.ObservedGeneration = c.Refused.Generation
		}
		return refused
	}
	what := "the configuration in force is that of the flags"
	if len(c.Objects) > 0 {
		what = "the configuration in force is what the ProxyConfigs say"
	}
	is := condition(v1alpha1.ConditionConfigurationAccepted, true, "Applied", what)
	for _, o := range c.Objects {
		if o.Name == v1alpha1.DefaultName {
			is.ObservedGeneration = o.Generation
		}
	}
	return is
}

// longestMessage is the most that a condition's message may have.
const longestMessage = 1024

func condition(kind string, is bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if is {
		status = metav1.ConditionTrue
	}
	if len(message) > longestMessage {
		message = message[:longestMessage-3] + "..."
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// compare says how a status differs from the last one.
func compare(now, last *v1alpha1.ProxyNodeStatus) difference {
	if last == nil {
		return news
	}
	a, b := *now, *last
	a.LastTransactionTime, b.LastTransactionTime = nil, nil
	switch {
	case !reflect.DeepEqual(a, b):
		return news
	case !now.LastTransactionTime.Equal(last.LastTransactionTime):
		return timeOnly
	}
	return same
}
