package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kelek/raftcore"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/golden anew; then read the diff")

// golden is one value of each record with every field set. Its bytes are in testdata/golden: a
// change there is a new format and needs a new version, and the old file stays.
func golden() map[string][]byte {
	entry := raftcore.Entry{
		Pos:   raftcore.Pos{Term: 0x0102030405060708, Index: 0x1112131415161718},
		Kind:  raftcore.EntryNormal,
		Stamp: 0x2122232425262728,
		Data:  []byte("a kelek floats on many skins"),
	}
	noop := raftcore.Entry{Pos: raftcore.Pos{Term: 3, Index: 7}, Kind: raftcore.EntryNoop, Stamp: 9}
	config := noop
	config.Kind, config.Index, config.Data = raftcore.EntryConfig, 8, []byte{1, 2, 3}
	appendEntries := raftcore.Message{
		Kind: raftcore.AppendEntries, From: 0xa1, To: 0xb2, Term: 3,
		Prev: raftcore.Pos{Term: 2, Index: 6}, Entries: []raftcore.Entry{noop, config},
		Commit: 5, Epoch: 4, Round: 77,
	}
	rejected := raftcore.Message{
		Kind: raftcore.AppendEntriesResponse, From: 0xb2, To: 0xa1, Term: 3, Match: 6,
		Reject: true, Hint: raftcore.Pos{Term: 1, Index: 4}, Epoch: 4, Round: 77, After: 12,
	}
	offer := raftcore.Message{
		Kind: raftcore.InstallSnapshot, From: 0xa1, To: 0xb2, Term: 3, Epoch: 4, Round: 78,
		Snapshot: raftcore.SnapshotMeta{
			ID: 0x51, Pos: raftcore.Pos{Term: 2, Index: 90}, Stamp: 0x2122232425262728, ConfigIndex: 8,
			Config: raftcore.Config{Voters: []raftcore.NodeID{0xa1, 0xb2}, Learners: []raftcore.NodeID{0xc3}},
		},
	}
	offered := raftcore.Message{
		Kind: raftcore.InstallSnapshotResponse, From: 0xb2, To: 0xa1, Term: 3, Match: 90, Epoch: 4,
		Round: 78, Lease: 500 * raftcore.Millisecond,
		Snapshot: raftcore.SnapshotMeta{ID: 0x51, Pos: raftcore.Pos{Term: 2, Index: 90}},
	}
	vote := raftcore.Message{
		Kind: raftcore.RequestVote, From: 0xb2, To: 0xc3, Term: 4,
		Prev: raftcore.Pos{Term: 3, Index: 8}, Force: true, Round: 2,
	}
	hello := Hello{
		Protocol: 1, Group: 0, ClusterID: [16]byte{1, 2, 3, 15: 16}, NodeID: 0xa1, Boot: 5,
		Name: "n1", PeerAddr: "10.0.0.1:7380", Addr: "10.0.0.1:6380",
		ClusterAddr: "10.0.0.1:9380", Build: "v0.1.0", Peers: "n1=10.0.0.1:7380",
		Join: JoinLearner, Members: "n2=10.0.0.2:7380",
	}
	invite := Invite{ClusterID: hello.ClusterID, Joining: true, Members: []Founder{{0xa1, "n1"}, {0xb2, "n2"}}}
	return map[string][]byte{
		"entry-v1":            AppendEntry(nil, &entry),
		"entry-noop-v1":       AppendEntry(nil, &noop),
		"hardstate-v1":        AppendHardState(nil, &raftcore.HardState{Term: 4, VotedFor: 0xb2}),
		"append-v1":           AppendMessage(nil, &appendEntries),
		"append-rejection-v1": AppendMessage(nil, &rejected),
		"vote-v1":             AppendMessage(nil, &vote),
		"offer-v1":            AppendMessage(nil, &offer),
		"offer-response-v1":   AppendMessage(nil, &offered),
		"hello-v1":            AppendHello(nil, &hello),
		"invite-v1":           AppendInvite(nil, &invite),
		"snapshot-files-v1": AppendSnapshotFiles(nil, []SnapshotFile{
			{"000123.sst", 0x0102030405060708}, {"MANIFEST-000007", 300}, {"marker", 0},
		}),
	}
}

func TestGoldenBytes(t *testing.T) {
	for name, got := range golden() {
		path := filepath.Join("testdata", "golden", name+".hex")
		if *rewrite {
			if err := os.WriteFile(path, []byte(hex.Dump(got)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if hex.Dump(got) != string(want) {
			t.Errorf("%s: the format changed\ngot\n%swant\n%s", name, hex.Dump(got), want)
		}
	}
}

// Every golden file decodes and encodes to itself, those of versions that are no longer written
// included once there are any.
func TestGoldenFilesDecode(t *testing.T) {
	paths, err := filepath.Glob("testdata/golden/*.hex")
	if err != nil || len(paths) != len(golden()) {
		t.Fatalf("%d golden files, %d values, %v", len(paths), len(golden()), err)
	}
	for _, path := range paths {
		dump, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := undump(t, string(dump))
		again, err := codecs[recordOf(path)].again(b)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %v\ngot\n%swant\n%s", path, err, hex.Dump(again), dump)
		}
	}
}

// recordOf tells from a golden file's name which record it holds.
func recordOf(path string) string {
	name := filepath.Base(path)
	for prefix, record := range map[string]string{
		"entry": "entry", "hardstate": "hard state", "hello": "hello", "invite": "invite",
		"snapshot-files": "snapshot files",
	} {
		if strings.HasPrefix(name, prefix) {
			return record
		}
	}
	return "message"
}

// undump is the inverse of hex.Dump.
func undump(t *testing.T, dump string) (b []byte) {
	for _, line := range strings.Split(strings.TrimSpace(dump), "\n") {
		columns, _, _ := strings.Cut(line, "|")
		part, err := hex.DecodeString(strings.Join(strings.Fields(columns)[1:], ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	return b
}
