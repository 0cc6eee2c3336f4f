package load

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func runOptions(f *fakeServer) Options {
	return Options{Addrs: []string{f.addr}, Connections: 4, Depth: 8, Command: "set", ReadShare: 0.5,
		Keys: 50, Sizes: Sizes{1, 100, false}, For: 50 * time.Millisecond, Seed: 1}
}

// Both ways to run connections agree with the server about what was asked.
func TestRunAgreesWithTheServer(t *testing.T) {
	for _, rate := range []float64{0, 2000} {
		f := newFakeServer(t)
		o := runOptions(f)
		o.Rate, o.Password = rate, "secret"
		steps := ""
		o.Begin, o.End = func() { steps += "begin " }, func() { steps += "end" }
		o.Progress = func(i *Interval) { steps += "progress " }
		result, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		asked := f.count("GET", "SET")
		answered := result.Latency.Count - result.Missed
		if answered == 0 || answered > asked || result.Commands > result.Latency.Count {
			t.Errorf("rate %g: %d replies to %d commands, %d in time", rate, answered, asked,
				result.Commands)
		}
		if result.Reads.Count+result.Writes.Count != result.Latency.Count || result.Reads.Count == 0 ||
			result.Writes.Count == 0 || result.Errors != 0 {
			t.Errorf("rate %g: %+v", rate, result)
		}
		if f.count("AUTH") != int64(o.Connections) || f.keyCount() > o.Keys+1 {
			t.Errorf("%d AUTH, %d keys", f.count("AUTH"), f.keyCount())
		}
		if steps != "begin progress end" {
			t.Errorf("steps: %s", steps)
		}
		if rate > 0 && asked+result.Missed != 100 {
			t.Errorf("%d commands and %d missed at %g/s in 50 ms", asked, result.Missed, rate)
		}
	}
}

func TestTheFillWritesEveryKey(t *testing.T) {
	f := newFakeServer(t)
	o := runOptions(f)
	o.Sequential, o.ReadShare, o.Keys, o.For = true, 0, 1003, 0
	o.Begin = func() { // as late as can be: what came before it counts, too
		for end := time.Now().Add(time.Minute); f.count("SET") < int64(o.Keys) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if f.keyCount() != 1003 || f.count("SET") != 1003 || result.Commands != 1003 {
		t.Errorf("%d keys by %d SETs, of which %d were counted", f.keyCount(), f.count("SET"),
			result.Commands)
	}
}

func TestErrorRepliesAreCountedApart(t *testing.T) {
	f := startFakeServer(t, &fakeServer{refuse: true})
	o := runOptions(f)
	o.ReadShare = 0
	result, err := Run(t.Context(), o)
	if err != nil || result.Errors == 0 || result.Refusal != "OOM no room" {
		t.Fatalf("%+v, %v", result, err)
	}
	if share := float64(result.Errors) / float64(result.Latency.Count); share < 0.05 || share > 0.2 {
		t.Errorf("%d errors beside %d replies", result.Errors, result.Latency.Count)
	}
}

func TestFailuresEndTheRun(t *testing.T) {
	f := startFakeServer(t, &fakeServer{hangUp: 100})
	o := runOptions(f)
	o.For = time.Hour
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("the server hung up, and the run succeeded")
	}
	o.Addrs, o.Password = []string{newFakeServer(t).addr}, "wrong"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("wrong password: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Password = "secret"
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAServerThatSaysNothingEndsTheRun(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	o := runOptions(&fakeServer{addr: ln.Addr().String()})
	o.For, o.Timeout = time.Hour, 50*time.Millisecond
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no reply") {
		t.Errorf("%v", err)
	}
}

func TestThePortableLoop(t *testing.T) {
	for _, rate := range []float64{0, 2000} {
		f := newFakeServer(t)
		o := runOptions(f)
		o.Rate = rate
		if err := o.validate(); err != nil {
			t.Fatal(err)
		}
		conns, err := dialAll(&o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		r := &trial{options: &o, clock: realClock{time.Now()}, cancel: cancel}
		r.end.Store(int64(o.For))
		r.startWorkers(conns)
		result, err := r.measure(ctx)
		if err != nil || result.Latency.Count == 0 {
			t.Errorf("rate %g: %+v, %v", rate, result, err)
		}
		asked := f.count("GET", "SET")
		if rate > 0 && asked+result.Missed != 100 {
			t.Errorf("%d commands and %d missed at %g/s in 50 ms", asked, result.Missed, rate)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	f := newFakeServer(t)
	for name, change := range map[string]func(o *Options){
		"command": func(o *Options) { o.Command = "lpush" },
		"share":   func(o *Options) { o.ReadShare = 2 },
		"depth":   func(o *Options) { o.Depth = 0 }, "conns": func(o *Options) { o.Connections = 100_000 },
		"keys": func(o *Options) { o.Keys = 0 }, "rate": func(o *Options) { o.Rate = -1 },
		"time": func(o *Options) { o.For = 0 }, "addrs": func(o *Options) { o.Addrs = nil },
		"multi": func(o *Options) { o.MultiSets = multiSetsMax + 1 },
		"every": func(o *Options) { o.Every = -1 },
		"etcd":  func(o *Options) { o.Protocol = EtcdHTTP },
	} {
		o := runOptions(f)
		change(&o)
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestListenerFindsThisProcess(t *testing.T) {
	if _, err := UsageOf(os.Getpid()); err != nil {
		t.Skip("there is no /proc here: ", err)
	}
	f := newFakeServer(t)
	if pid := Listener(f.addr); pid != os.Getpid() {
		t.Errorf("process %d listens on %s, this is %d", pid, f.addr, os.Getpid())
	}
	if pid := Listener("192.0.2.1:1"); pid != 0 {
		t.Errorf("process %d listens on another machine", pid)
	}
}

func TestProcFormats(t *testing.T) {
	stat := "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 123 45 0 0 20 0 9 0 100 1 1"
	if cpu, err := parseStat(stat); err != nil || cpu != 1680*time.Millisecond {
		t.Errorf("%s, %v", cpu, err)
	}
	for _, text := range []string{"", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 4194560 1 0 0 0 x 45 0 0"} {
		if _, err := parseStat(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	if kibibytes(-1) != -1 || kibibytes(3) != 3072 {
		t.Error("kibibytes")
	}
	io := "rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 9\n"
	if n := field(io, "write_bytes:"); n != 4096 {
		t.Errorf("write_bytes %d", n)
	}
	table := "  sl local rem st\n" +
		"   0: 0100007F:18EC 00000000:0000 01 0:0 0:0 0 0 0 11 1\n" +
		"   1: 0100007F:18EC 00000000:0000 0A 0:0 0:0 0 0 0 22 1\n"
	if inode := listeningInode(table, 6380); inode != "22" {
		t.Errorf("inode %q", inode)
	}
}
