package load

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// testReport has two systems, two rounds, known and unknown figures.
func testReport() *Report {
	r := &Report{Program: "kelek bench", Machine: "linux/amd64, <2> CPUs", CPUs: 2,
		Begin: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)}
	for round := 1; round <= 2; round++ {
		for i, system := range []string{"kelek-3", "redis-aof"} {
			o := Options{Command: "set", Connections: 50, Depth: 16, Keys: 1000, ReadShare: 0.25,
				Sizes: Sizes{16, 64, true}, Seed: 7}
			row := NewRow(system, 3-2*i, round, &o)
			ms := func(n int) time.Duration { return time.Duration(n*(i+1)) * time.Millisecond }
			row.Result = Result{Elapsed: 2 * time.Second, Commands: int64(1000 * (i + round)),
				PerSecond: float64(500 * (i + round)), Errors: int64(i), Latency: Latency{Count: 9, Mean: ms(2),
					Min: ms(1), P50: ms(2), P90: ms(3), P99: ms(40), P999: ms(50), P9999: ms(60), Max: ms(70)}}
			if i == 0 {
				cpu, written, resident := 20.5, 0.0, int64(1<<20)
				row.ServerCPU, row.Written = &cpu, &written
				row.Processes = []Process{{Name: "n1", PID: 99, Target: true, CPU: 20.5, Written: &written,
					Resident: &resident, ResidentMax: &resident, Disk: &resident}}
				row.Possible = &Possible{Front: 5000, Log: 4000.5, Group: 40}
				row.Drift = &Drift{PerSecond: 0.99, P50: 1.01, P99: 1, Resident: 1.1}
				row.Series = []Interval{{At: time.Second, Count: 500, PerSecond: 500, P50: ms(2), P99: ms(40),
					Max: ms(70), Resident: []int64{resident, -1}}}
			} else {
				row.Refusal = "ERR, \"quoted\""
			}
			r.Rows = append(r.Rows, row)
		}
	}
	r.Ratios = Ratios(r.Rows)
	r.Footprints = []Footprint{{System: "kelek-3", Keys: 1000, DataBytes: 80_000, FillRate: 1e5,
		Resident: []int64{1 << 20, -1}, DiskLoaded: []int64{3 << 20}, DiskSettled: []int64{2 << 20},
		SettleSeconds: 5, IdleCores: 0.01, RestartOne: 0.2, RestartAll: 0.4}}
	return r
}

// The forms are read by other programs: they change by purpose only.
func TestForms(t *testing.T) {
	r := testReport()
	for name, write := range map[string]func(w io.Writer) error{"report.json": r.WriteJSON,
		"report.csv": r.WriteCSV, "report.svg": r.WriteSVG} {
		var got strings.Builder
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *rewrite {
			if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s differs from what is written now (-rewrite, then read the difference):\n%s",
				path, got.String())
		}
	}
}

func TestThePlotIsXML(t *testing.T) {
	for name, r := range map[string]*Report{"full": testReport(), "empty": {}} {
		var text strings.Builder
		if err := r.WriteSVG(&text); err != nil {
			t.Fatal(err)
		}
		for in := xml.NewDecoder(strings.NewReader(text.String())); ; {
			if _, err := in.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, text.String())
			}
		}
		if strings.Contains(text.String(), "NaN") || strings.Contains(text.String(), "Inf") {
			t.Errorf("%s: a coordinate is no number:\n%s", name, text.String())
		}
	}
}

func TestWritersTellFailures(t *testing.T) {
	r := testReport()
	for name, write := range map[string]func(w io.Writer) error{"JSON": r.WriteJSON, "CSV": r.WriteCSV,
		"SVG": r.WriteSVG} {
		if err := write(full{}); err == nil {
			t.Errorf("%s: a full disk was not noticed", name)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// Ratios are made within a round: the machine was twice as fast in the second.
func TestRatiosCompareWithinRounds(t *testing.T) {
	var rows []Row
	for round, pair := range [][2]float64{{100, 200}, {200, 500}, {300, 500}} {
		for i, system := range []string{"a", "b"} {
			row := NewRow(system, 1, round+1, &Options{Command: "get", Connections: 1, Depth: 1})
			row.PerSecond = pair[i]
			rows = append(rows, row)
		}
	}
	got := Ratios(rows)
	want := Ratio{"get c1 P1", "a", "b", Spread{Median: 0.5, Min: 0.4, Max: 0.6, Count: 3}}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	lines := Lines(rows)
	if len(lines) != 2 || lines[0].Ratio != nil || *lines[1].Ratio != want || len(lines[1].Rows) != 3 {
		t.Errorf("%+v", lines)
	}
	if got := Ratios(nil); got != nil {
		t.Errorf("ratios of nothing: %v", got)
	}
	if spread := lines[0].Spread(func(r *Row) *float64 { return r.Syncs }); spread.Count != 0 {
		t.Errorf("unknown figures count: %+v", spread)
	}
}

// A line of the plot is one workload at several rates: what differs otherwise is another line.
func TestAnotherLoadIsAnotherLine(t *testing.T) {
	r := &Report{}
	for _, connections := range []int{50, 256} {
		for _, rate := range []float64{1000, 2000} {
			row := NewRow("a", 1, 1, &Options{Command: "set", Connections: connections, Depth: 1, Rate: rate})
			row.PerSecond = rate
			row.Latency = Latency{Count: 1, P50: time.Millisecond, P99: time.Second, P999: time.Second}
			r.Rows = append(r.Rows, row)
		}
	}
	var text strings.Builder
	if err := r.WriteSVG(&text); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(text.String(), "<polyline"); lines != 2*len(plotted) ||
		!strings.Contains(text.String(), "a set c256 P1 p99.9") {
		t.Errorf("%d lines in\n%s", lines, text.String())
	}
}
