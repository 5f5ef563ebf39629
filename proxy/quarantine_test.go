package proxy_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/model"
	"github.com/kube-vmap/kube-vmap/proxy/testnet"
)

// otherService is a service of its own with one endpoint port for all pods of the
// web's slice.
func otherService(name, ip string) *model.Service {
	return &model.Service{
		Name:       model.ServiceName{Namespace: "shop", Name: name},
		ClusterIPs: testnet.Addrs(ip),
		Ports:      []model.ServicePort{{Name: "TCP", Protocol: model.TCP, Port: 80}},
	}
}

func otherSlice(lab *testnet.Lab, svc *model.Service, pods ...string) *model.EndpointSlice {
	s := webSlice(lab, pods...)
	s.Name.Name, s.Service = svc.Name.Name+"-1", svc.Name
	return s
}

// eventually waits until check returns nothing.
func eventually(t *testing.T, check func() string) {
	t.Helper()
	problem := ""
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if problem = check(); problem == "" {
			return
		}
	}
	t.Fatal(problem)
}

// answers checks who answers at a frontend.
func answers(from *testnet.Host, to, want string) string {
	o := from.Probe(model.TCP, addrPorts(80, to)[0])
	got := o.Kind.String()
	if o.Kind == testnet.Answered {
		got = o.Server
	}
	if got != want {
		return fmt.Sprintf("%s: %s, want %s", to, o, want)
	}
	return ""
}

// TestQuarantine: the kernel refuses one service. The others go on; what the
// refused one had stays, and its next change frees it.
func TestQuarantine(t *testing.T) {
	lab := newLab(t)
	bad, good := otherService("bad", "10.96.0.66"), otherService("good", "10.96.0.77")
	first := firstUpdate(bad, otherSlice(lab, bad, "a1"))
	first.Services[good.Name] = good
	slice := otherSlice(lab, good, "a1")
	first.Slices[slice.Name] = slice
	f := newFeed(first)
	w := start(t, lab.Host("node-a"), nodeConfig(), f)

	for _, blame := range []bool{true, false} { // with and without the element at fault
		w.inject(func(tx *nft.Transaction, commit func() (kernel.Result, error)) (kernel.Result, error) {
			for _, op := range tx.Operations() {
				for i := range op.Elements {
					if e := &op.Elements[i]; op.Kind == nft.AddElements && e.Key.AddrAt(0, true) == bad.ClusterIPs[0] {
						err := &kernel.Error{Operation: op.Kind, Table: tx.Table.Name, Object: op.Set.Name, Errno: unix.ENOSPC}
						if blame {
							err.Set, err.Element = op.Set, e
						}
						return kernel.Result{}, err
					}
				}
			}
			return commit()
		})
		changed := otherSlice(lab, bad, "a2")
		both := sliceUpdate(changed)
		slice := otherSlice(lab, good, "b1")
		both.Slices[slice.Name] = slice
		f.apply(both)
		eventually(t, func() string { return answers(lab.Host("node-a"), "10.96.0.77", "b1") })
		if problem := answers(lab.Host("node-a"), "10.96.0.66", "a1"); problem != "" {
			t.Errorf("quarantined: %s", problem)
		}
		w.inject(nil)
		f.apply(sliceUpdate(otherSlice(lab, bad, "b2")))
		eventually(t, func() string { return answers(lab.Host("node-a"), "10.96.0.66", "b2") })
		both.Slices = map[model.SliceName]*model.EndpointSlice{}
		for _, svc := range []*model.Service{bad, good} {
			s := otherSlice(lab, svc, "a1")
			both.Slices[s.Name] = s
		}
		f.apply(both)
		eventually(t, func() string { return answers(lab.Host("node-a"), "10.96.0.66", "a1") })
	}
}

// TestQuarantineSparesOthers: the kernel refuses one service and does not say
// which. It is found among those that changed with it, whatever their order.
func TestQuarantineSparesOthers(t *testing.T) {
	lab := newLab(t)
	bad, first := otherService("z-bad", "10.96.0.66"), firstUpdate(webService(), webSlice(lab, "a1"))
	services := []*model.Service{bad}
	for i := range 3 {
		services = append(services, otherService(fmt.Sprintf("good-%d", i), fmt.Sprintf("10.96.1.%d", i)))
	}
	update := func(pod string) model.Update {
		u := model.Update{Slices: map[model.SliceName]*model.EndpointSlice{}}
		for _, svc := range services {
			slice := otherSlice(lab, svc, pod)
			u.Slices[slice.Name] = slice
		}
		return u
	}
	for _, svc := range services {
		first.Services[svc.Name] = svc
	}
	maps.Copy(first.Slices, update("a1").Slices)
	f := newFeed(first)
	w := start(t, lab.Host("node-a"), nodeConfig(), f)
	<-w.settled

	w.inject(func(tx *nft.Transaction, commit func() (kernel.Result, error)) (kernel.Result, error) {
		for _, op := range tx.Operations() {
			for i := range op.Elements {
				if op.Kind == nft.AddElements && op.Elements[i].Key.AddrAt(0, true) == bad.ClusterIPs[0] {
					return kernel.Result{}, &kernel.Error{Operation: op.Kind, Table: tx.Table.Name, Object: op.Set.Name, Errno: unix.ENOSPC}
				}
			}
		}
		return commit()
	})
	f.apply(update("a2"))
	for i := range 3 {
		eventually(t, func() string { return answers(lab.Host("node-a"), fmt.Sprintf("10.96.1.%d", i), "a2") })
	}
	if problem := answers(lab.Host("node-a"), "10.96.0.66", "a1"); problem != "" {
		t.Errorf("quarantined: %s", problem)
	}
}

// TestRefusalOfNobody: a refusal that names nobody may come from what another
// process did to the table, so all services are tried together once more before
// each is tried by itself.
func TestRefusalOfNobody(t *testing.T) {
	lab := newLab(t)
	first := firstUpdate(webService(), webSlice(lab, "a1"))
	var names []*model.Service
	for i := range 50 {
		svc := otherService(fmt.Sprintf("other-%d", i), fmt.Sprintf("10.96.1.%d", i))
		slice := otherSlice(lab, svc, "a1")
		first.Services[svc.Name], first.Slices[slice.Name] = svc, slice
		names = append(names, svc)
	}
	f := newFeed(first)
	w := start(t, lab.Host("node-a"), nodeConfig(), f)
	<-w.settled

	n, once := w.count(), true
	w.inject(func(tx *nft.Transaction, commit func() (kernel.Result, error)) (kernel.Result, error) {
		if once { // what a flush between two transactions leads to
			once = false
			if _, err := lab.Host("node-a").Run("nft", "flush", "ruleset"); err != nil {
				return kernel.Result{}, err
			}
		}
		return commit()
	})
	changed := model.Update{Slices: map[model.SliceName]*model.EndpointSlice{}}
	for _, svc := range names[48:] {
		slice := otherSlice(lab, svc, "a2")
		changed.Slices[slice.Name] = slice
	}
	f.apply(changed)
	eventually(t, func() string { return answers(lab.Host("node-a"), "10.96.1.49", "a2") })
	if txs := w.since(n); len(txs) > 10 {
		t.Errorf("%d transactions to repair the table", len(txs))
	}
}

// TestFaults: any failure, at any transaction, is healed.
func TestFaults(t *testing.T) {
	lab := newLab(t)
	f := newFeed(firstUpdate(webService(), webSlice(lab, "a1")))
	w := start(t, lab.Host("node-a"), nodeConfig(), f)
	refuse := func(*nft.Transaction, func() (kernel.Result, error)) (kernel.Result, error) {
		return kernel.Result{}, &kernel.Error{Operation: nft.AddElements, Table: "kube-vmap", Errno: unix.ENOMEM, Whole: true}
	}
	lost := func(_ *nft.Transaction, commit func() (kernel.Result, error)) (kernel.Result, error) {
		if _, err := commit(); err != nil {
			return kernel.Result{}, err
		}
		return kernel.Result{}, fmt.Errorf("%w: no answer", kernel.ErrUncertain)
	}
	never := func(*nft.Transaction, func() (kernel.Result, error)) (kernel.Result, error) {
		return kernel.Result{}, fmt.Errorf("%w: socket lost", kernel.ErrUncertain)
	}
	pods := [][]string{{"a2"}, {"b1"}, {"b2"}}
	for i, fault := range []func(*nft.Transaction, func() (kernel.Result, error)) (kernel.Result, error){refuse, lost, never} {
		n := w.count()
		once := true
		w.inject(func(tx *nft.Transaction, commit func() (kernel.Result, error)) (kernel.Result, error) {
			if once {
				once = false
				return fault(tx, commit)
			}
			return commit()
		})
		f.apply(sliceUpdate(webSlice(lab, pods[i]...)))
		w.wait(t, n)
		eventually(t, func() string { return answers(lab.Host("node-a"), "10.96.0.10", pods[i][0]) })
	}
}
