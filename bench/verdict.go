package bench

import (
	"fmt"
	"io"
	"slices"
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
	Refused  int // by nodes that were cut off: certainly not executed
	Failures int // errors on connections to living nodes

	Lost         []string // acknowledged writes that are not there, or not as they were written
	Counters     []string // counters outside their bounds
	Disagreement []string // keys that two nodes show differently
	History      linearizable

	P50, P99  time.Duration
	PerSecond float64
	Texts     []string // some of the failures

	who func(client int) string
}

// Pass reports whether nothing is wrong; what could not be checked is wrong, too.
func (v *Verdict) Pass() bool {
	return len(v.Lost) == 0 && len(v.Counters) == 0 && len(v.Disagreement) == 0 &&
		v.Failures == 0 && v.History.result == porcupine.Ok && v.Commands > 0
}

// checkLimit bounds the linearizability check.
const checkLimit = 20 * time.Second

// readBatch is how many keys one MGET reads at the end.
const readBatch = 500

// Judge reads everything back through every node and checks all records. The load has ended.
func (w *Workload) Judge(limit time.Duration) (*Verdict, error) {
	v, records := w.sum()
	finals, err := w.readBack(records, v)
	if err != nil {
		return nil, err
	}
	v.Counters = append(v.Counters, checkCounters(records, finals)...)
	v.Lost = append(v.Lost, checkTexts(records, finals)...)
	v.History = checkHistory(append(records, finals...), limit)
	return v, nil
}

// JudgeRecords checks what the clients saw, of nodes that cannot be read any more.
func (w *Workload) JudgeRecords(limit time.Duration) *Verdict {
	v, records := w.sum()
	v.History = checkHistory(records, limit)
	return v
}

// sum counts what all clients did.
func (w *Workload) sum() (*Verdict, []record) {
	v := &Verdict{Writes: w.Acknowledged(), who: w.who}
	var latencies [][]int64
	var records []record
	for _, c := range w.clients {
		latencies = append(latencies, c.latencies)
		records = append(records, c.records...)
		v.Commands += len(c.latencies)
		v.Failures += c.failures
		v.Refused += c.refused
		v.Texts = append(v.Texts, c.texts...)
		for _, a := range c.audits {
			if !a.acknowledged && !a.refused {
				v.Unknown++
			}
		}
	}
	for i := range records {
		if records[i].unknown {
			v.Unknown++
		}
	}
	all := sortedLatencies(latencies...)
	v.P50, v.P99 = percentile(all, 0.50), percentile(all, 0.99)
	v.PerSecond = float64(v.Commands) / w.elapsed.Seconds()
	return v, records
}

// who names a client in a history: those of the load, and the one that reads everything back.
func (w *Workload) who(client int) string {
	switch {
	case client >= 0:
		return fmt.Sprintf("client %d on %s", client, *w.clients[client].place.name.Load())
	case client == clockClient:
		return "log time"
	}
	return "at the end on " + *w.places[-client-1].name.Load()
}

// readBack reads every object through every node. The reads of shared objects become records of
// their own; the audit keys are compared on the spot.
func (w *Workload) readBack(records []record, v *Verdict) ([]record, error) {
	shared := sharedObjects(records)
	var finals []record
	var first []record
	for i, p := range w.places {
		conn, err := w.dial(*p.addr.Load(), commandTimeout)
		if err != nil {
			return nil, err
		}
		call := w.now()
		values, err := readAll(conn, keysOf(shared))
		if err == nil {
			err = w.checkAudits(conn, v)
		}
		conn.Close() // only read from
		if err != nil {
			return nil, err
		}
		here := finalReads(shared, values)
		for k := range here {
			here[k].client, here[k].call, here[k].ret = -1-i, call, w.now()
		}
		finals = append(finals, here...)
		if i == 0 {
			first = here
		}
		v.Disagreement = append(v.Disagreement, differences(first, here, conn.Addr())...)
	}
	return finals, nil
}

// sharedObjects are reads of all objects, to be answered.
func sharedObjects(records []record) []record {
	index := map[string]int{}
	var objects []record
	for i := range records {
		r := &records[i]
		at, known := index[r.key]
		if !known {
			at = len(objects)
			index[r.key], objects = at, append(objects, record{act: actGet, key: r.key})
		}
		if r.act.onPair() {
			objects[at].act = actBoth
		}
		objects[at].ttl = max(objects[at].ttl, r.ttl)
	}
	return objects
}

func keysOf(objects []record) []string {
	var keys []string
	for i := range objects {
		if objects[i].act == actBoth {
			a, b := pairKeys(objects[i].key)
			keys = append(keys, a, b)
		} else {
			keys = append(keys, objects[i].key)
		}
	}
	return keys
}

// finalReads gives the objects the values of their keys.
func finalReads(objects []record, values []outcome) []record {
	reads := slices.Clone(objects)
	for i := range reads {
		r := &reads[i]
		r.out, values = values[0], values[1:]
		if r.act == actBoth {
			if values[0] != r.out {
				r.out.text = fmt.Sprintf("torn: %q and %q", r.out.text, values[0].text)
			}
			values = values[1:]
		}
	}
	return reads
}

// differences compares what two nodes show. What has a deadline may have passed it in between.
func differences(first, second []record, addr string) []string {
	var out []string
	for k := range first {
		if first[k].out != second[k].out && first[k].ttl == 0 {
			out = append(out, fmt.Sprintf("%s is %q on the first node and %q on %s", first[k].key,
				first[k].out.text, second[k].out.text, addr))
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
			a := &c.audits[n]
			if wrong := a.wrong(value, auditValue(c.id, n)); wrong != "" {
				v.Lost = append(v.Lost, fmt.Sprintf("%s, written by %s from %s to %s, %s on %s",
					keys[n], w.who(c.id), seconds(a.call), seconds(a.ret), wrong, conn.Addr()))
			}
		}
	}
	return nil
}

// wrong judges one key: an acknowledged one is there, a refused one is not, any other may be, and
// only with the value that was written.
func (a *audit) wrong(value outcome, want string) string {
	switch {
	case value.null && a.acknowledged:
		return "was acknowledged and is not there"
	case !value.null && a.refused:
		return "was refused and is there"
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
		if r.act != actAppend && r.act != actPair {
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
	v.writeHistory(out)
}

// writeHistory prints a violation of linearizability that is as short as can be.
func (v *Verdict) writeHistory(out io.Writer) {
	if len(v.History.illegal) == 0 {
		return
	}
	h, of := smallest(v.History.illegal)
	fmt.Fprintf(out, "        not linearizable: %d of %d keys. The smallest history, %d of the %d commands "+
		"on %s\n        (seconds since the load began; ? is not known):\n", len(v.History.illegal),
		v.History.keys, len(h.records), of, h.key)
	h.write(out, v.who)
}
