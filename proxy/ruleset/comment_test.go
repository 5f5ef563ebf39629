package ruleset

import (
	"strings"
	"testing"

	"github.com/kube-vmap/kube-vmap/nft"
	"github.com/kube-vmap/kube-vmap/proxy/model"
)

// FuzzComment: whatever an object calls itself, its comment ends no quotation,
// begins no line, moves no cursor, and fits.
func FuzzComment(f *testing.F) {
	f.Add("shop", "web", "http")
	f.Add("a\"", "} ; flush ruleset #", "\n")
	f.Add("\\", "\x1b[2J", "\u202eptth")
	f.Add(strings.Repeat("long", 50), "\xff\xfe", "\x00")
	f.Fuzz(func(t *testing.T, namespace, name, port string) {
		sp := model.ServicePortName{Service: model.ServiceName{Namespace: namespace, Name: name}, Port: port}
		for kind := model.ClusterIP; kind <= model.LoadBalancerIP; kind++ {
			c := comment(sp, kind)
			if len(c) > nft.MaxComment {
				t.Errorf("%q has %d bytes", c, len(c))
			}
			if strings.ContainsFunc(c, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("%q is not harmless", c)
			}
		}
	})
}
