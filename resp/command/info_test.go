package command

import (
	"strings"
	"testing"

	"kelek/store/op"
)

// What a node has done about snapshots is in three sections of INFO.
func TestInfoTellsOfSnapshots(t *testing.T) {
	s := op.Status{FirstIndex: 41, LastIndex: 50, Snapshots: op.SnapshotStatus{Taking: true,
		Created: 3, Sent: 4, Installed: 5}}
	for _, c := range []struct {
		section func(*infoWriter)
		want    string
	}{
		{infoPersistence, "rdb_changes_since_last_save:10 rdb_bgsave_in_progress:1 rdb_saves:3"},
		{infoStats, "sync_full:4"},
		{infoRaft, "raft_snapshot_last_idx:40 raft_snapshot_in_progress:yes " +
			"raft_snapshots_created:3 raft_snapshots_received:5"},
	} {
		w := &infoWriter{face: &Face{}, f: &Facts{}, s: &s}
		c.section(w)
		lines := strings.Split(w.String(), "\r\n")
		for _, want := range strings.Fields(c.want) {
			found := false
			for _, line := range lines {
				found = found || line == want
			}
			if !found {
				t.Errorf("no line %s in %q", want, lines)
			}
		}
	}
}
