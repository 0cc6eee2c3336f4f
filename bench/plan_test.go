package bench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kelek/bench/mesh"
)

// planned is a cluster of which nothing runs.
func planned(t *testing.T, n int) *Cluster {
	t.Helper()
	c, err := NewCluster(t.TempDir(), "kelek", n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A name stands for one node id for ever as far as people are concerned: it is not given away again.
func TestNamesAndPortsAreNotReused(t *testing.T) {
	c := planned(t, 3)
	n4, err := c.Add()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Forget(n4); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(); err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadCluster(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loaded.Add(); err != nil {
		t.Fatal(err)
	}
	if loaded.names() != "n1 n2 n3 n5 n6" || len(loaded.Gone) != 1 || loaded.Gone[0].Name != "n4" {
		t.Errorf("%s, gone %v", loaded.names(), loaded.Gone)
	}
	ports := map[int]bool{}
	for _, n := range loaded.Nodes {
		ports[n.Port] = true
	}
	before := len(ports)
	if err := loaded.Readdress(); err != nil {
		t.Fatal(err)
	}
	for _, n := range loaded.Nodes {
		ports[n.Port] = true
	}
	if before != 5 || len(ports) != 10 {
		t.Errorf("%d ports, then %d", before, len(ports))
	}
	if err := c.Forget(n4); err == nil {
		t.Error("forgotten twice")
	}
}

func TestAClusterHasALargestSize(t *testing.T) {
	if _, err := planned(t, nodesMax).Add(); err == nil {
		t.Errorf("a node more than %d", nodesMax)
	}
}

// Behind forwarders the nodes are told the doors, and listen elsewhere.
func TestNodesAdvertiseTheirDoors(t *testing.T) {
	if err := mesh.Supported(); err != nil {
		t.Skip(err)
	}
	c := planned(t, 2)
	if err := c.UseForwarders(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	args := c.arguments(c.Nodes[0])
	listen := args[slices.Index(args, "--peer-listen")+1]
	advertise := args[slices.Index(args, "--peer-advertise")+1]
	peers := args[slices.Index(args, "--peers")+1]
	if listen == advertise || !strings.Contains(peers, "n1="+advertise) ||
		strings.Contains(peers, c.Nodes[1].PeerAddr()) {
		t.Errorf("%v", args)
	}
	if err := c.Readdress(); err == nil {
		t.Error("the doors would lead nowhere")
	}
}

func TestTheLastWordsOfANode(t *testing.T) {
	for log, want := range map[string]string{
		"{\"a\":1}\n{\"b\":2}\n":                                  `{"b":2}`,
		"kelek: the disk is full\n":                               "kelek: the disk is full",
		"{\"a\":1}\npanic: commit went back\n\ngoroutine 1:\nx\n": "panic: commit went back",
		"panic: an old one\nx\n{\"a\":1}\n":                       `{"a":1}`,
		"fatal error: all goroutines are asleep\n\nx\n":           "fatal error: all goroutines are asleep",
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastLine(path); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
