package bench

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kelek/resp/client"
)

// attacks are byte sequences that have brought down, blocked or bloated servers like this one.
func attacks() map[string]string {
	return map[string]string{
		"huge bulk":             "*1\r\n$9223372036854775807\r\nabc\r\n",
		"negative bulk":         "*1\r\n$-10\r\n",
		"bulk above the limit":  "*2\r\n$3\r\nGET\r\n$2000000000\r\n",
		"largest bulk, no data": "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\n",
		"huge count":            "*2147483647\r\n",
		"count overflow":        "*9223372036854775808\r\n",
		"large count, no data":  "*1048576\r\n",
		"nested":                "*1\r\n*1\r\n*1\r\n",
		"endless inline":        strings.Repeat("a", 256<<10),
		"endless header":        "*" + strings.Repeat("1", 128<<10),
		"many empty lines":      strings.Repeat("\r\n", 64<<10),
		"open quote":            "SET k \"abc\r\n",
		"binary":                "\x00\xff\x00\xff\r\n\x00",
		"TLS hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" +
			strings.Repeat("\x00", 500),
		"HTTP":              "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"HTTP post":         "POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
		"HTTP huge header":  "GET / HTTP/1.1\r\nX: " + strings.Repeat("y", 128<<10),
		"pipeline of pings": strings.Repeat("*1\r\n$4\r\nPING\r\n", 10_000),
		"frame of 4 GiB":    "\xff\xff\xff\xff\x00\x00\x00\x00\x01",
		"zero frames":       strings.Repeat("\x00", 64<<10),
	}
}

// attack sends bytes to an address until the server closes the connection or a moment has passed.
// What it answers is read, so that nobody can blame a client that does not listen.
func attack(addr, text string) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return // the port is busy with others; that they are served is checked elsewhere
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
	go conn.Write([]byte(text))
	sink := make([]byte, 64<<10)
	for {
		if _, err := conn.Read(sink); err != nil {
			return
		}
	}
}

// mutate changes some bytes of a well-formed start of a conversation.
func mutate(random *rand.Rand) string {
	text := []byte("*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n$5\r\nworld\r\n" +
		"*2\r\n$3\r\nGET\r\n$5\r\nhello\r\nPING\r\n")
	for range 1 + random.IntN(6) {
		at := random.IntN(len(text))
		switch random.IntN(3) {
		case 0:
			text[at] = byte(random.Uint32())
		case 1:
			text = append(text[:at], text[at+1:]...)
		default:
			text = append(text[:at], append([]byte{byte(random.Uint32())}, text[at:]...)...)
		}
	}
	return string(text)
}

// residentBytes is the memory of a process.
func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Skip("no /proc: memory cannot be measured")
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// residentBytesMax is what a node may use while it is attacked by a few connections at a time; the
// store's own caches are the larger part.
const residentBytesMax = 1 << 30

// Hostile bytes on all ports for a while: the process lives, its memory stays bounded, and others
// are served meanwhile.
func TestHostileBytes(t *testing.T) {
	const attackers = 8
	c := startCluster(t, 1)
	n := c.Nodes[0]
	ports := []string{n.Addr(), n.ClusterAddr(), n.PeerAddr(), n.HTTPAddr()}
	deadline := time.Now().Add(time.Duration(times(2, 60)) * time.Second)
	var all sync.WaitGroup
	for i := range attackers {
		all.Add(1)
		go func() {
			defer all.Done()
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for time.Now().Before(deadline) {
				for _, text := range attacks() {
					attack(ports[random.IntN(len(ports))], text)
					attack(ports[random.IntN(len(ports))], mutate(random))
				}
			}
		}()
	}
	before, largest, served := n.Process, int64(0), 0
	conn := dial(t, n.Addr())
	for time.Now().Before(deadline) {
		value := fmt.Sprint(served)
		do(t, conn, "SET", "k", value)
		if reply := do(t, conn, "GET", "k"); reply.Text != value {
			t.Fatalf("GET is %q, want %q", reply.Text, value)
		}
		if served++; served%100 == 0 {
			largest = max(largest, residentBytes(t, n.Process.PID))
		}
	}
	all.Wait()
	largest = max(largest, residentBytes(t, n.Process.PID))
	if !before.alive() {
		t.Error("the process has ended")
	}
	if largest > residentBytesMax {
		t.Errorf("%d MiB of memory, limit %d MiB", largest>>20, int64(residentBytesMax)>>20)
	}
	t.Logf("%d commands were served; at most %d MiB of memory", 2*served, largest>>20)
	fresh, err := client.Dial(n.Addr(), commandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	do(t, fresh, "PING")
}
