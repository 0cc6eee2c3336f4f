package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// newPlan is a network of which nothing exists.
func newPlan(t *testing.T, names ...string) *Namespaces {
	t.Helper()
	n := &Namespaces{run: runName(2417, "118733", 1), homes: map[string]*home{}}
	for i, name := range names {
		address, err := addressOf(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		n.homes[name] = &home{name, address, fmt.Sprintf("127.0.0.1:%d", 6401+i)}
	}
	return n
}

// rulesAt are what a cut means at one node.
func rulesAt(n *Namespaces, to string, links ...Link) []string {
	rules := strings.Split(strings.TrimSpace(cutRules(n.sources(links, to))), "\n")
	return rules[2 : len(rules)-1] // between the head and COMMIT
}

func TestRulesOfCuts(t *testing.T) {
	n := newPlan(t, "n1", "n2", "n3")
	for _, c := range []struct {
		what  string
		links []Link
		want  map[string]string // the rules at each node
	}{
		{"whole", nil, map[string]string{}},
		{"one way: only n2 does not hear n1", []Link{{"n1", "n2"}},
			map[string]string{"n2": "-A kelek -s 10.0.0.1 -j DROP"}},
		{"a single link", []Link{{"n1", "n2"}, {"n2", "n1"}},
			map[string]string{"n1": "-A kelek -s 10.0.0.2 -j DROP", "n2": "-A kelek -s 10.0.0.1 -j DROP"}},
		{"n1 hears nobody; in order, once each", []Link{{"n3", "n1"}, {"n2", "n1"}, {"n3", "n1"}},
			map[string]string{"n1": "-A kelek -s 10.0.0.2 -j DROP|-A kelek -s 10.0.0.3 -j DROP"}},
		{"n2 is the bridge", []Link{{"n1", "n3"}, {"n3", "n1"}},
			map[string]string{"n1": "-A kelek -s 10.0.0.3 -j DROP", "n3": "-A kelek -s 10.0.0.1 -j DROP"}},
		{"who has gone has no links", []Link{{"n1", "n9"}, {"n9", "n1"}, {"n1", "n1"}},
			map[string]string{}},
	} {
		for _, name := range n.names() {
			if got := strings.Join(rulesAt(n, name, c.links...), "|"); got != c.want[name] {
				t.Errorf("%s: at %s %q, want %q", c.what, name, got, c.want[name])
			}
		}
	}
}

// The text replaces the own chain and touches nothing else.
func TestRulesReplaceTheirChain(t *testing.T) {
	want := "*filter\n:kelek - [0:0]\n-A kelek -s 10.0.0.7 -j DROP\nCOMMIT\n"
	if got := cutRules([]netip.Addr{netip.MustParseAddr("10.0.0.7")}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if strings.Contains(cutRules(nil), "-A") || strings.Contains(firstRules, "DROP") {
		t.Error("a whole network drops packets")
	}
	if !strings.Contains(firstRules, "-i eth0 ") {
		t.Error("the node's own clients come through the chain as well")
	}
}

func TestResetsNameTheOtherEnds(t *testing.T) {
	n := newPlan(t, "n1", "n2", "n3")
	got := strings.Join(resetCommand(n.sources([]Link{{"n2", "n1"}, {"n3", "n1"}}, "n1")), " ")
	if want := "ss -K -H -n -t dst 10.0.0.2 or dst 10.0.0.3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := reversed([]Link{{"n1", "n2"}}); !slices.Equal(got, []Link{{"n2", "n1"}}) {
		t.Errorf("the other direction is %v", got)
	}
}

func TestAddressesAreNeverUsedTwice(t *testing.T) {
	seen := map[netip.Addr]bool{}
	inside := netip.MustParsePrefix("10.0.0.0/16")
	for k := 1; k <= addressesMax; k++ {
		address, err := addressOf(k)
		if err != nil || seen[address] || !inside.Contains(address) {
			t.Fatalf("number %d: %s, %v", k, address, err)
		}
		seen[address] = true
	}
	if seen[netip.MustParseAddr("10.0.0.0")] || seen[netip.MustParseAddr("10.0.255.255")] {
		t.Error("the network's own addresses were given away")
	}
	if address, err := addressOf(addressesMax + 1); err == nil {
		t.Errorf("one more is %s", address)
	}
}

// Nothing is taken for a leftover that another program has made.
func TestNamesTellWhoMadeThem(t *testing.T) {
	for _, name := range []string{"n3", hubName} {
		pid, ticks, ours := maker(namespaceOf(runName(2417, "118733", 1), name))
		if !ours || pid != 2417 || ticks != "118733" {
			t.Errorf("%s: %d, %s, %v", name, pid, ticks, ours)
		}
	}
	for _, name := range []string{"", "kelek", "kelek-1-n1", "kelek-1-2-n1", "kelek-x-2-1-n1", "cni-2417-118733-1-n1",
		"my-kelek-2417-118733-1-n1", "kelek-2417-118733-1-n1.old", "kelek-99999999999999999999-1-1-n1"} {
		if _, _, ours := maker(name); ours {
			t.Errorf("%q was not made by a run", name)
		}
	}
}

func TestClientsAreTakenToTheirNode(t *testing.T) {
	n := newPlan(t, "n1", "n2")
	if home := n.serving("127.0.0.1:6402"); home == nil || home.name != "n2" {
		t.Errorf("found %+v", home)
	}
	if _, err := n.Connect("127.0.0.1:7", patience); err == nil || !strings.Contains(err.Error(), "no node serves") {
		t.Errorf("%v", err)
	}
	if prefix := n.Prefix("n2"); !slices.Equal(prefix, []string{"ip", "netns", "exec",
		"kelek-2417-118733-1-n2"}) {
		t.Errorf("%v", prefix)
	}
}

// Whoever cannot use namespaces is told all that is missing.
func TestWhatIsMissingIsNamed(t *testing.T) {
	found := func(string) (string, error) { return "/usr/sbin/x", nil }
	none := func(string) (string, error) { return "", errors.New("not there") }
	if err := lacking("linux", 0, found); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		err  error
		want []string
	}{
		{lacking("darwin", 501, found), []string{"Linux", "darwin"}},
		{lacking("linux", 1000, found), []string{"root", "user 1000"}},
		{lacking("linux", 0, none), []string{"ip ", "iproute2", "ss ", "iptables-restore"}},
		{lacking("linux", 1000, none), []string{"root", "iptables-restore"}},
	} {
		for _, want := range c.want {
			if c.err == nil || !strings.Contains(c.err.Error(), want) {
				t.Errorf("%v, want %q", c.err, want)
			}
		}
	}
}

// The own start is known, and that of nobody is not.
func TestStartTicks(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	if own := startTicks(ownPID()); own == "" || own == "0" {
		t.Errorf("this process started at tick %q", own)
	}
	if got := startTicks(endedPID(t)); got != "" {
		t.Errorf("a process that has ended started at tick %q", got)
	}
}
