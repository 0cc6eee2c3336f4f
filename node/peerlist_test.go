package node

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePeers(t *testing.T) {
	peers, err := ParsePeers(" n2=10.0.0.2:7380, n1=[::1]:7380,n10=host:1 ", "n2")
	if err != nil {
		t.Fatal(err)
	}
	if got := FormatPeers(peers); got != "n1=[::1]:7380,n10=host:1,n2=10.0.0.2:7380" {
		t.Errorf("canonical form %q", got)
	}
	if peers, err := ParsePeers("  ", "n1"); peers != nil || err != nil {
		t.Errorf("an empty list: %v, %v", peers, err)
	}
}

func TestParsePeersRefusals(t *testing.T) {
	for list, words := range map[string]string{
		"n1":                               `"n1" is not name=host:port`,
		"n1=a:1,":                          `"" is not name=host:port`,
		"n1=a":                             `the address of n1, "a"`,
		"n1=:7380":                         `the address of n1, ":7380"`,
		"n1=a:0":                           `"0", is not a number from 1 to 65535`,
		"n1=a:65536":                       `"65536"`,
		"n1=a:http":                        `"http"`,
		"n1=a:1,n1=b:1":                    "the name n1 is there twice",
		"n1=a:1,n2=a:1":                    "n1 and n2 have the same address, a:1",
		"n2=a:1":                           `"n1", is not in "n2=a:1"`,
		"n 1=a:1":                          `"n 1" contains ' '`,
		"=a:1":                             "name is empty",
		strings.Repeat("n", 65) + "=a:1":   "has 65 characters; at most 64",
		strings.Repeat("n1=a:1,", 10)[:69]: "it names 10 nodes; a cluster is formed by at most 9",
	} {
		_, err := ParsePeers(list, "n1")
		wantExit(t, err, ExitConfig, "--peers", words)
	}
}

func TestParseJoin(t *testing.T) {
	got, err := ParseJoin(" a:1, [::1]:2,a:1")
	if want := []string{"a:1", "[::1]:2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err = ParseJoin(" "); got != nil || err != nil {
		t.Errorf("an empty list: %q, %v", got, err)
	}
	for _, list := range []string{"a", "a:1,", "a:0", "a:x", "n1=a:1", ":7380"} {
		_, err := ParseJoin(list)
		wantExit(t, err, ExitConfig, "--join", "host:port")
	}
}
