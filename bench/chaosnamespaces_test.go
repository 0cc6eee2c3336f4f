package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"kelek/bench/mesh"
)

// Whoever asks for namespaces and cannot have them is told what is missing, and that the default
// needs none of it.
func TestChaosSaysWhatNamespacesNeed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out transcript
	chaos := Chaos{Nodes: 3, Network: NetworkNamespaces, Dir: t.TempDir(), Out: &out, Binary: "kelek"}
	_, err := chaos.Run(context.Background())
	if err == nil {
		t.Fatal("it runs without any of the programs")
	}
	wanted := []string{"--network namespaces", "--network forwarders, needs none of it"}
	if why := mesh.NamespacesSupported(); why == nil {
		t.Error("nothing is missing")
	} else {
		wanted = append(wanted, why.Error())
	}
	for _, want := range wanted {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if left, err := os.ReadDir(chaos.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The whole storm over real packets: wiped disks and changes of the members as well.
func TestChaosOverPackets(t *testing.T) {
	if !full() {
		t.Skip("KELEK_TEST_FULL=1: makes network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skipf("user %d makes no network namespaces", os.Geteuid())
	}
	var out transcript
	chaos := Chaos{Nodes: 5, For: 15 * time.Second, Binary: binary(t), Network: NetworkNamespaces,
		Seed: uint64(time.Now().UnixNano()), Dir: t.TempDir(), Out: &out, Version: "test"}
	passed, err := chaos.Run(context.Background())
	if errors.Is(err, mesh.ErrRefused) {
		t.Skipf("root is not enough here, nothing of this was tested: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Logf("\n%s", &out)
	if !passed {
		t.Error("the nodes failed")
	}
	for _, want := range []string{"packets between namespaces", "fault", "healed", "linearizable yes",
		"PASS"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not say %q", want)
		}
	}
	if left, err := os.ReadDir(chaos.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
