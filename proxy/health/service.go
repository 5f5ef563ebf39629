package health

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// Service is what a Service's health-check node port answers.
type Service struct {
	Port           uint16 // spec.healthCheckNodePort; 0: none
	LocalEndpoints int    // Ready endpoints on this node
}

// answer is what a port says.
type answer struct {
	service model.ServiceName
	local   int
}

// assign gives each port to one Service: the one that has it already, else the
// first by name. losers are the others with the port they want.
func assign(services map[model.ServiceName]Service, before map[uint16]answer) (answers map[uint16]answer, losers map[model.ServiceName]uint16) {
	answers, losers = map[uint16]answer{}, map[model.ServiceName]uint16{}
	for _, name := range slices.SortedFunc(maps.Keys(services), model.ServiceName.Compare) {
		s := services[name]
		if s.Port == 0 {
			continue
		}
		owner, taken := answers[s.Port]
		switch {
		case taken && before[s.Port].service != name:
			losers[name] = s.Port
			continue
		case taken:
			losers[owner.service] = s.Port
		}
		answers[s.Port] = answer{service: name, local: s.LocalEndpoints}
	}
	return answers, losers
}

// serviceAnswer is the body of an answer, kube-proxy's
// (pkg/proxy/healthcheck/service_health.go).
type serviceAnswer struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

// handler answers on a port, for whatever Service has it at the time.
func (n *nodePorts) handler(port uint16) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a, ok := (*n.answers.Load())[port]
		if !ok {
			http.Error(w, "no Service has this healthCheckNodePort any more", http.StatusServiceUnavailable)
			return
		}
		body := serviceAnswer{LocalEndpoints: a.local, ServiceProxyHealthy: n.state.Health(time.Now()).Healthy}
		body.Service.Namespace, body.Service.Name = a.service.Namespace, a.service.Name
		status := http.StatusServiceUnavailable
		if a.local > 0 && body.ServiceProxyHealthy {
			status = http.StatusOK
		}
		w.Header().Set("X-Load-Balancing-Endpoint-Weight", fmt.Sprint(a.local))
		writeJSON(w, status, &body)
	})
}
