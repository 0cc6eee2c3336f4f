package resp

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"kelek/resp/resptest"
	"kelek/store/op"
)

// The scripts of testdata say what a client sends and what it gets back, byte for byte. Commands:
//
//	server [mode=plain|cluster|moved] [password=x] [self=2] [leader=1]   a new server, three nodes
//	leader id=N     who leads, 0: nobody
//	client          a new connection sends the lines, quoted as in Go without the quotes, in one
//	                write, and closes its half; what comes back is printed with a line per CRLF
//	advance ms=N    log time
//	fail err=uncertain|leader|busy|stopping|large|none
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	t    *testing.T
	face *face
	self uint64
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "server":
		return s.server(d)
	case "leader":
		var id int
		d.ScanArgs(t, "id", &id)
		s.face.node.SetStatus(resptest.ThreeNodes(s.self, uint64(id)))
		return ""
	case "advance":
		var ms int
		d.ScanArgs(t, "ms", &ms)
		s.face.node.Advance(uint64(ms))
		return ""
	case "fail":
		var name string
		d.ScanArgs(t, "err", &name)
		s.face.node.Fail(map[string]error{"uncertain": op.ErrUncertain, "leader": op.ErrNoLeader,
			"busy": op.ErrBusy, "stopping": op.ErrStopping, "large": op.ErrTooLarge}[name])
		return ""
	case "client":
		return s.client(t, d)
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return ""
}

func (s *script) server(d *datadriven.TestData) string {
	clock := func() time.Time { return s.face.node.Clock() }
	o := Options{Clock: clock, Advertise: "127.0.0.1:6380", Version: "test"}
	s.self = 1
	leader := uint64(1)
	for _, arg := range d.CmdArgs {
		value := arg.Vals[0]
		switch arg.Key {
		case "mode":
			o.RedirectMoved = value == "moved"
			if value == "cluster" {
				o.Mode = Cluster
			}
		case "password":
			o.Password = value
		case "self", "leader":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				d.Fatalf(s.t, "%v", err)
			}
			if arg.Key == "self" {
				s.self = n
			} else {
				leader = n
			}
		}
	}
	s.face = newFace(s.t, o)
	s.face.node.SetStatus(resptest.ThreeNodes(s.self, leader))
	return ""
}

func (s *script) client(t *testing.T, d *datadriven.TestData) string {
	var text strings.Builder
	for _, line := range strings.Split(d.Input, "\n") {
		raw, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
		if err != nil {
			d.Fatalf(t, "%q: %v", line, err)
		}
		text.WriteString(raw)
	}
	c := s.face.dial(t)
	c.send(text.String())
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		d.Fatalf(t, "%v", err)
	}
	got, err := io.ReadAll(c.in)
	if err != nil {
		d.Fatalf(t, "%v after %q", err, got)
	}
	return show(got)
}

// show breaks what was received into lines behind each CRLF.
func show(got []byte) string {
	if len(got) == 0 {
		return "(nothing)\n"
	}
	var b strings.Builder
	for _, line := range strings.SplitAfter(string(got), "\r\n") {
		if line != "" {
			quoted := strconv.Quote(line)
			fmt.Fprintln(&b, strings.TrimSuffix(quoted[1:len(quoted)-1], `\r\n`))
		}
	}
	return b.String()
}
