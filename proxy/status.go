package proxy

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/nft/kernel"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Status tells how a proxy does, at one moment.
type Status struct {
	Node       string    `json:"node"`
	Table      string    `json:"table"`
	Owned      bool      `json:"owned"`          // other processes can't change the table
	Ready      bool      `json:"ready"`          // the table has been complete
	Synced     bool      `json:"synced"`         // and is now all that the objects ask for
	Started    time.Time `json:"started"`        // when the loop began
	Since      time.Time `json:"since,omitzero"` // when the table was complete for the first time
	Generation uint32    `json:"generation"`     // of the ruleset, after the last transaction

	Services  int            `json:"services"`
	Frontends int            `json:"frontends"` // addresses with protocol and port
	Endpoints int            `json:"endpoints"` // of all services, each address of a slice once, ready or not
	Elements  map[string]int `json:"elements"`  // of each set and map
	Pending   int            `json:"pending"`   // services that are not up to date

	Quarantined []QuarantinedObject `json:"quarantined"`
	Conflicts   []FrontendConflict  `json:"conflicts"`

	LastTransaction *TransactionStatus `json:"lastTransaction,omitempty"`
	LastError       *FailureStatus     `json:"lastError,omitempty"`
	Repairs         int                `json:"repairs"` // how often the table differed from what was committed
	LastForeign     *ForeignStatus     `json:"lastForeignChange,omitempty"`
}

// QuarantinedObject is an API object of which something can't be used.
type QuarantinedObject struct {
	Object string `json:"object"` // "Service shop/web"
	Reason string `json:"reason"`
}

// FrontendConflict is a frontend that a Service wants and an older one has.
type FrontendConflict struct {
	Service  string `json:"service"`
	Frontend string `json:"frontend"`
	Winner   string `json:"winner"`
}

// TransactionStatus is a transaction that was committed.
type TransactionStatus struct {
	Time       time.Time `json:"time"`
	Duration   Duration  `json:"duration"`
	Operations int       `json:"operations"`
	Elements   int       `json:"elements"`
	Bytes      int       `json:"bytes"`
}

// FailureStatus is a sync that failed. Lasting says that no later one succeeded.
type FailureStatus struct {
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
	Lasting bool      `json:"lasting"`
}

// ForeignStatus is a change of the table by another process, which was repaired.
type ForeignStatus struct {
	Time    time.Time `json:"time"`
	Process string    `json:"process,omitempty"` // empty: not known
	PID     uint32    `json:"pid,omitempty"`
}

// Duration is a time.Duration that JSON shows as "1.2ms".
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// history is what happened, for Status.
type history struct {
	started, since time.Time
	transaction    *TransactionStatus
	failure        *FailureStatus
	repairs        int
	foreign        *ForeignStatus
}

// transacted notes a transaction that was committed.
func (h *history) transacted(tx *nft.Transaction, result kernel.Result, took time.Duration) {
	h.transaction = &TransactionStatus{
		Time: time.Now(), Duration: Duration(took),
		Operations: result.Operations, Elements: tx.ElementCount(), Bytes: result.Bytes,
	}
}

// failed notes a sync that failed.
func (h *history) failed(err error) {
	h.failure = &FailureStatus{Time: time.Now(), Message: err.Error(), Lasting: true}
}

// succeeded notes that a sync succeeded.
func (h *history) succeeded() {
	if h.failure != nil {
		h.failure.Lasting = false
	}
}

// repaired notes a foreign change that was repaired.
func (h *history) repaired(who kernel.Generation) {
	h.repairs++
	h.foreign = &ForeignStatus{Time: time.Now(), Process: strings.ToValidUTF8(who.Process, "?"), PID: who.PID}
}

// Status asks the loop how it does. It waits for the step that runs, and fails
// only if the context ends.
func (p *Proxy) Status(ctx context.Context) (Status, error) {
	var s Status
	err := p.ask(ctx, func() { s = p.status() })
	return s, err
}

// ask runs a function in the loop's goroutine.
func (p *Proxy) ask(ctx context.Context, do func()) error {
	return p.call(ctx, func() error { do(); return nil })
}

// status is made in the loop's goroutine, of values that the loop does not share.
func (p *Proxy) status() Status {
	s := Status{
		Node: p.config.NodeName, Table: p.config.Table, Owned: p.config.Own,
		Ready: p.synced, Synced: p.synced && p.adopted && !p.suspicious && len(p.dirty) == 0,
		Started: p.history.started, Since: p.history.since, Generation: p.generation,
		Services: len(p.cluster.services), Frontends: p.tracker.FrontendCount(),
		Elements: maps.Clone(p.tally.elements), Pending: len(p.dirty),
		Quarantined: p.quarantined(), Conflicts: p.conflicts(),
		Repairs: p.history.repairs,
	}
	for _, slice := range p.cluster.slices {
		s.Endpoints += len(slice.Endpoints)
	}
	s.LastTransaction, s.LastError, s.LastForeign = clone(p.history.transaction), clone(p.history.failure), clone(p.history.foreign)
	return s
}

func clone[T any](v *T) *T {
	if v == nil {
		return nil
	}
	c := *v
	return &c
}

// quarantined lists the objects of which something can't be used: those with bad
// fields, and the services that the kernel refuses.
func (p *Proxy) quarantined() []QuarantinedObject {
	list := []QuarantinedObject{}
	for ref, problems := range p.cluster.problems {
		for _, problem := range problems {
			list = append(list, QuarantinedObject{ref.String(), problem.String()})
		}
	}
	for name, err := range p.quarantine.aside {
		list = append(list, QuarantinedObject{serviceRef(name).String(), "the kernel refuses it: " + err.Error()})
	}
	slices.SortFunc(list, func(a, b QuarantinedObject) int {
		return strings.Compare(a.Object+a.Reason, b.Object+b.Reason)
	})
	return list
}

func (p *Proxy) conflicts() []FrontendConflict {
	list := []FrontendConflict{}
	for _, name := range slices.SortedFunc(maps.Keys(p.tally.conflicts), model.ServiceName.Compare) {
		for _, c := range p.tally.conflicts[name] {
			list = append(list, FrontendConflict{name.String(), c.Key.String(), c.Winner.String()})
		}
	}
	return list
}
