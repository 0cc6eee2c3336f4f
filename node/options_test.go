package node

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"kelek/raftcore"
	"kelek/store/op"
)

func TestDefaultsSatisfyAllRelations(t *testing.T) {
	o := Options{Self: op.Member{ID: 1}, Boot: 1}
	o.setDefaults()
	if err := errors.Join(o.validate(), o.setClock()); err != nil {
		t.Fatal(err)
	}
	core := o.core()
	if core.ElectionTimeout != 500_000_000 || core.MaxEntryBytes != o.Limits.EntryBytesMax {
		t.Fatalf("core options %+v", core)
	}
	first, wall := o.Clock()
	second, _ := o.Clock()
	if first == 0 || second < first || time.UnixMilli(int64(wall)).Year() < 2000 {
		t.Fatalf("clock %d %d %d", first, second, wall)
	}
}

func TestOptionsThatCannotWorkAreRefusedByName(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"node id":               func(o *Options) { o.Self.ID = 0 },
		"boot":                  func(o *Options) { o.Boot = 0 },
		"negative":              func(o *Options) { o.Heartbeat = -1 },
		"request timeout":       func(o *Options) { o.RequestTimeout = time.Millisecond },
		"PipelineProposalsMax":  func(o *Options) { o.Limits.PipelineProposalsMax = 1000 },
		"PipelineFullBytes":     func(o *Options) { o.Limits.PipelineFullBytes = 1 << 30 },
		"ProposalBytesMax":      func(o *Options) { o.Limits.EntryBytesMax = 1000 },
		"ProposalOpsMax":        func(o *Options) { o.Limits.ProposalOpsMax = -1 },
		"ForwardedMax":          func(o *Options) { o.Limits.ForwardedMax = 1 },
		"UncommittedEntriesMax": func(o *Options) { o.Limits.UncommittedEntriesMax = 1 },
		"ApplyQueueBytesMax":    func(o *Options) { o.Limits.ApplyQueueBytesMax = 1 },
		"AppendBytesMax":        func(o *Options) { o.Limits.AppendBytesMax = 1 << 30 },
		"InboxMessagesMax":      func(o *Options) { o.Limits.InboxMessagesMax = 1 },
		"WriterBytesMax":        func(o *Options) { o.Limits.WriterBytesMax = 1 },
		"ReadRoundsMax":         func(o *Options) { o.Limits.ReadRoundsMax = -1 },
		"PendingReadsMax":       func(o *Options) { o.Limits.PendingReadsMax = 5 },
		"WriterPipelineMax":     func(o *Options) { o.Limits.WriterPipelineMax = -1 },
		"PurgeKeysMax":          func(o *Options) { o.Limits.PurgeKeysMax = -1 },
	} {
		o := Options{Self: op.Member{ID: 1}, Boot: 1}
		change(&o)
		_, err := New(o, newFakeStorage())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := New(Options{Self: op.Member{ID: 1}, Boot: 1}, nil); err == nil {
		t.Error("a node without storage was built")
	}
}

// Leases get a clock that runs on while the machine sleeps, or are refused: they never rest on one
// that stands still.
func TestLeasesNeedASleeplessClock(t *testing.T) {
	n, err := New(Options{Self: op.Member{ID: 1}, Boot: 1, LeaseDrift: 50}, newFakeStorage())
	if runtime.GOOS != "linux" {
		if err == nil || !strings.Contains(err.Error(), "without --read lease") {
			t.Errorf("%v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	first := n.Now()
	if later := n.Now(); first < raftcore.Second || later < first {
		t.Errorf("%d, then %d", first, later)
	}
}
