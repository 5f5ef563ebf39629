package fleet

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-vmap/kube-vmap/config"
	"github.com/kube-vmap/kube-vmap/config/v1alpha1"
	"github.com/kube-vmap/kube-vmap/proxy"
)

func TestSchedule(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := schedule{interval: time.Minute, random: func(d time.Duration) time.Duration { return d / 2 }}
	var sent []string
	at := func(seconds int, d difference) {
		now := begin.Add(time.Duration(seconds) * time.Second)
		if s.isDue(now, d) {
			sent = append(sent, now.Sub(begin).String())
			s.tried(now)
		}
	}
	for second := range 3 * 3600 {
		switch {
		case second < 300:
			at(second, news) // something is always new
		case second < 400:
			at(second, same)
		case second < 500:
			at(second, news)
		default:
			at(second, timeOnly)
		}
	}
	want := []string{"5s", "1m10s", "2m15s", "3m20s", "4m25s", "6m45s", "7m50s", "17m55s", "28m0s", "38m5s", "48m10s"}
	if diff := cmp.Diff(want, sent[:len(want)]); diff != "" {
		t.Error(diff)
	}
}

func TestStatus(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	object := &v1alpha1.ProxyConfig{ObjectMeta: metav1.ObjectMeta{Name: "default", Generation: 3}}
	s := proxy.Status{
		Ready: true, Synced: true, Since: begin, Services: 7, Endpoints: 20, Owned: true,
		LastTransaction: &proxy.TransactionStatus{Time: begin},
		Quarantined: []proxy.QuarantinedObject{
			{Object: "Service a/f"}, {Object: "Service a/b"}, {Object: "Service a/c"}, {Object: "Service a/b", Reason: "another"},
			{Object: "Service a/a"}, {Object: "Service a/d"}, {Object: "Service a/e"},
		},
	}
	c := config.Report{Objects: []*v1alpha1.ProxyConfig{object}}
	first := statusOf(&s, &c, nil, begin)
	if first.Services != 7 || first.Endpoints != 20 || first.Quarantined.Count != 6 || len(first.Quarantined.Objects) != 5 || !first.TableOwned {
		t.Errorf("%+v", first)
	}
	states := func(s v1alpha1.ProxyNodeStatus) (list []string) {
		for _, c := range s.Conditions {
			list = append(list, c.Type+"="+string(c.Status)+" "+c.Reason+" "+c.LastTransitionTime.Format("05"))
		}
		return list
	}
	if diff := cmp.Diff([]string{"Ready=True TableComplete 05", "Synced=True UpToDate 05", "ConfigurationAccepted=True Applied 05"}, states(first)); diff != "" {
		t.Error(diff)
	}
	if g := first.Conditions[2].ObservedGeneration; g != 3 {
		t.Errorf("observed generation %d", g)
	}
	later := statusOf(&s, &c, first.Conditions, begin.Add(time.Second))
	if compare(&later, &first) != same {
		t.Error(cmp.Diff(first, later))
	}
	s.LastTransaction = &proxy.TransactionStatus{Time: begin.Add(time.Minute)}
	later = statusOf(&s, &c, first.Conditions, begin.Add(time.Second))
	if compare(&later, &first) != timeOnly {
		t.Error(cmp.Diff(first, later))
	}
	s.Synced, s.LastError = false, &proxy.FailureStatus{Message: "no", Lasting: true}
	c.Err, c.Refused = errors.New("conflict"), &v1alpha1.ProxyConfig{ObjectMeta: metav1.ObjectMeta{Generation: 9}}
	later = statusOf(&s, &c, first.Conditions, begin.Add(2*time.Second))
	if diff := cmp.Diff([]string{"Ready=True TableComplete 05", "Synced=False SyncFailed 07", "ConfigurationAccepted=False Refused 07"}, states(later)); diff != "" {
		t.Error(diff)
	}
	if g := later.Conditions[2].ObservedGeneration; g != 9 || compare(&later, &first) != news {
		t.Errorf("observed generation %d", g)
	}
}
