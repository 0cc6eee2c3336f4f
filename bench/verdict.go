package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"kelek/resp/client"
)

// Verdict is what a workload proves.
type Verdict struct {
	Commands int // answered
	Writes   int64
	Unknown  int // without a known outcome, their node having been killed
	Failures int // errors on connections to living nodes

	Lost         []string // acknowledged writes that are not there, or not as they were written
	Counters     []string // counters outside their bounds
	Disagreement []string // keys that two nodes show differently
	History      linearizable

	P50, P99  time.Duration
	PerSecond float64
	Texts     []string // some of the failures
}

// Pass reports whether nothing is wrong; what could not be checked is wrong, too.
func (v *Verdict) Pass() bool {
	return len(v.Lost) == 0 && len(v.Counters) == 0 && len(v.Disagreement) == 0 &&
		v.Failures == 0 && v.History.result == porcupine.Ok && v.Commands > 0
}

// checkLimit bounds the linearizability check.
const checkLimit = 8 * time.Second

// readBatch is how many keys one MGET reads at the end.
const readBatch = 500

// Judge reads everything back through every node and checks all records. The load has ended.
func (w *Workload) Judge() (*Verdict, error) {
	v := &Verdict{Writes: w.Acknowledged()}
	var latencies [][]int64
	var records []record
	for _, c := range w.clients {
		latencies = append(latencies, c.latencies)
		records = append(records, c.records...)
		v.Commands += len(c.latencies)
		v.Failures += c.failures
		v.Texts = append(v.Texts, c.texts...)
		for _, acknowledged := range c.audits {
			if !acknowledged {
				v.Unknown++
			}
		}
	}
	for i := range records {
		if records[i].unknown {
			v.Unknown++
		}
	}
	finals, err := w.readBack(records, v)
	if err != nil {
		return nil, err
	}
	v.Counters = append(v.Counters, checkCounters(records, finals)...)
	v.Lost = append(v.Lost, checkTexts(records, finals)...)
	v.History = checkHistory(append(records, finals...), checkLimit)
	all := sortedLatencies(latencies...)
	v.P50, v.P99 = percentile(all, 0.50), percentile(all, 0.99)
	v.PerSecond = float64(v.Commands) / w.elapsed.Seconds()
	return v, nil
}

// readBack reads every key through every node. The reads of shared keys become records of their
// own; the audit keys are compared on the spot.
func (w *Workload) readBack(records []record, v *Verdict) ([]record, error) {
	shared := sharedKeys(records)
	var finals []record
	var first []outcome
	for i, addr := range w.addrs {
		conn, err := client.Dial(addr, commandTimeout)
		if err != nil {
			return nil, err
		}
		call := w.now()
		values, err := readAll(conn, shared)
		if err == nil {
			err = w.checkAudits(conn, v)
		}
		conn.Close() // only read from
		if err != nil {
			return nil, err
		}
		for k, out := range values {
			finals = append(finals, record{client: -1 - i, act: actGet, key: shared[k], call: call,
				ret: w.now(), out: out})
		}
		v.Disagreement = append(v.Disagreement, differences(shared, first, values, addr)...)
		if i == 0 {
			first = values
		}
	}
	return finals, nil
}

func sharedKeys(records []record) []string {
	seen := map[string]bool{}
	var keys []string
	for i := range records {
		if key := records[i].key; !seen[key] {
			seen[key], keys = true, append(keys, key)
		}
	}
	return keys
}

func differences(keys []string, first, values []outcome, addr string) []string {
	var out []string
	for k := range first {
		if first[k] != values[k] {
			out = append(out, fmt.Sprintf("%s is %q on the first node and %q on %s", keys[k],
				first[k].text, values[k].text, addr))
		}
	}
	return out
}

// readAll reads keys by MGET.
func readAll(conn *client.Conn, keys []string) ([]outcome, error) {
	values := make([]outcome, 0, len(keys))
	for len(keys) > 0 {
		n := min(len(keys), readBatch)
		reply, err := conn.Do(append([]string{"MGET"}, keys[:n]...)...)
		if err != nil {
			return nil, err
		}
		if err := reply.Err(); err != nil {
			return nil, fmt.Errorf("MGET on %s: %w", conn.Addr(), err)
		}
		if len(reply.Elems) != n {
			return nil, fmt.Errorf("MGET of %d keys on %s has %d values", n, conn.Addr(),
				len(reply.Elems))
		}
		for i := range reply.Elems {
			values = append(values, outcomeOf(&reply.Elems[i]))
		}
		keys = keys[n:]
	}
	return values, nil
}

// checkAudits reads the keys that each client wrote once, on one node.
func (w *Workload) checkAudits(conn *client.Conn, v *Verdict) error {
	for _, c := range w.clients {
		keys := make([]string, len(c.audits))
		for n := range c.audits {
			keys[n] = c.auditKey(n)
		}
		values, err := readAll(conn, keys)
		if err != nil {
			return err
		}
		for n, value := range values {
			if wrong := auditError(c.audits[n], value, auditValue(c.id, n)); wrong != "" {
				v.Lost = append(v.Lost, fmt.Sprintf("%s on %s %s", keys[n], conn.Addr(), wrong))
			}
		}
	}
	return nil
}

// auditError judges one key: an acknowledged one is there, an unknown one may be, and in both cases
// only with the value that was written.
func auditError(acknowledged bool, value outcome, want string) string {
	switch {
	case value.null && acknowledged:
		return "was acknowledged and is not there"
	case !value.null && value.text != want:
		return fmt.Sprintf("is %q, was written as %q", value.text, want)
	}
	return ""
}

// checkCounters holds each counter between its acknowledged INCRs and those plus the unknown ones.
func checkCounters(records, finals []record) []string {
	type bounds struct{ acknowledged, unknown int64 }
	counters := map[string]bounds{}
	for i := range records {
		r := &records[i]
		if r.act != actIncr {
			continue
		}
		b := counters[r.key]
		if r.unknown {
			b.unknown++
		} else {
			b.acknowledged++
		}
		counters[r.key] = b
	}
	var wrong []string
	for i := range finals {
		b, is := counters[finals[i].key]
		if !is {
			continue
		}
		n, err := strconv.ParseInt(finals[i].out.text, 10, 64)
		if finals[i].out.null {
			n, err = 0, nil
		}
		if err != nil || n < b.acknowledged || n > b.acknowledged+b.unknown {
			wrong = append(wrong, fmt.Sprintf("%s is %q after %d acknowledged and %d unknown INCRs",
				finals[i].key, finals[i].out.text, b.acknowledged, b.unknown))
		}
	}
	return wrong
}

// checkTexts looks for each acknowledged APPEND in the final text: there exactly once. An unknown
// one is there at most once.
func checkTexts(records, finals []record) []string {
	texts := map[string]map[string]int{}
	for i := range finals {
		counts := map[string]int{}
		for _, token := range strings.SplitAfter(finals[i].out.text, ",") {
			counts[token]++
		}
		key := finals[i].key
		if known, is := texts[key]; is {
			counts = fewest(known, counts)
		}
		texts[key] = counts
	}
	var wrong []string
	for i := range records {
		r := &records[i]
		if r.act != actAppend {
			continue
		}
		if n := texts[r.key][r.arg]; n > 1 || n == 0 && !r.unknown {
			wrong = append(wrong, fmt.Sprintf("APPEND %s %q is there %d times", r.key, r.arg, n))
		}
	}
	return wrong
}

// fewest keeps, of two nodes, the count that is wrong if one is: 0, or more than 1.
func fewest(a, b map[string]int) map[string]int {
	merged := map[string]int{}
	for token, n := range a {
		if m := b[token]; n > 1 || m > 1 {
			merged[token] = max(n, m)
		} else {
			merged[token] = min(n, m)
		}
	}
	for token, n := range b {
		if n > 1 {
			merged[token] = n
		}
	}
	return merged
}

// Write prints what is wrong, one line each, at most some of each sort.
func (v *Verdict) Write(out io.Writer) {
	const shown = 5
	for _, group := range []struct {
		title string
		lines []string
	}{
		{"lost", v.Lost}, {"counter", v.Counters}, {"nodes differ", v.Disagreement},
		{"error", v.Texts},
	} {
		for i, line := range group.lines {
			if i == shown {
				fmt.Fprintf(out, "        %s: ... %d more\n", group.title, len(group.lines)-shown)
				break
			}
			fmt.Fprintf(out, "        %s: %s\n", group.title, line)
		}
	}
}
