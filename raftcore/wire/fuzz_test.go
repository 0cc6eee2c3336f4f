package wire

import (
	"bytes"
	"strings"
	"testing"
)

// fuzz checks one record's decoder on any input: it does not panic, and what it accepts survives
// another round. Encoding is canonical except for presence bits of fields that are zero, so it is
// the second round that must reproduce the first.
func fuzz(f *testing.F, record string) {
	c := codecs[record]
	g := newGenerator(6)
	for range 20 {
		f.Add(c.random(g))
	}
	for name, b := range golden() {
		if recordOf(name) == record {
			f.Add(b)
			f.Add(b[:len(b)/2])
		}
	}
	f.Add([]byte(strings.Repeat("\xff", 64)))
	f.Add(append([]byte{1, 5, 0x7f, 0}, strings.Repeat("\xff", 200)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := c.again(b)
		if err != nil {
			return
		}
		twice, err := c.again(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%x decodes, encodes to %x, which then gives %x, %v", b, once, twice, err)
		}
	})
}

func FuzzDecodeEntry(f *testing.F)     { fuzz(f, "entry") }
func FuzzDecodeHardState(f *testing.F) { fuzz(f, "hard state") }
func FuzzDecodeMessage(f *testing.F)   { fuzz(f, "message") }
func FuzzDecodeHello(f *testing.F)     { fuzz(f, "hello") }
func FuzzDecodeInvite(f *testing.F)    { fuzz(f, "invite") }

func FuzzDecodeSnapshotFiles(f *testing.F) { fuzz(f, "snapshot files") }
