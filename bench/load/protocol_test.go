package load

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestFrames(t *testing.T) {
	for _, c := range []struct {
		protocol Protocol
		reply    string
		refusal  string
	}{
		{RESP, "+OK\r\n", ""}, {RESP, ":12\r\n", ""}, {RESP, "$-1\r\n", ""}, {RESP, "$0\r\n\r\n", ""},
		{RESP, "$3\r\na\r\n\r\n", ""}, {RESP, "-ERR no\r\n", "ERR no"}, {RESP, "_\r\n", ""},
		{RESP, "*0\r\n", ""}, {RESP, "*2\r\n+OK\r\n$3\r\nabc\r\n", ""},
		{RESP, "*3\r\n:1\r\n-ERR a\r\n-ERR b\r\n", "ERR a"},
		{RESP, "*-1\r\n", "the transaction was not executed"},
		{EtcdHTTP, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\n{}", ""},
		{EtcdHTTP, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", ""},
		{EtcdHTTP, "HTTP/1.1 503 No\r\ncontent-length: 3\r\n\r\nbad",
			"503 No content-length: 3  bad"},
	} {
		for cut := range c.reply { // every beginning is incomplete
			if n, _, err := c.protocol.frame([]byte(c.reply[:cut])); n != 0 || err != nil {
				t.Errorf("%q: %d bytes, %v", c.reply[:cut], n, err)
			}
		}
		n, refusal, err := c.protocol.frame([]byte(c.reply + c.reply))
		if n != len(c.reply) || string(refusal) != c.refusal || err != nil {
			t.Errorf("%q: %d bytes, refusal %q, %v", c.reply, n, refusal, err)
		}
	}
	for _, text := range []string{"\r\n", "HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "$-2\r\n",
		"$999999999999\r\n", "*x\r\n", "*-2\r\n", "*999999999\r\n", "*1\r\n*1\r\n:1\r\n",
		"*1\r\nx\r\n", strings.Repeat("x", headerBytesMax+1)} {
		if n, _, err := RESP.frame([]byte(text)); err == nil {
			t.Errorf("RESP %.20q: %d bytes and no error", text, n)
		}
	}
	for _, text := range []string{"+OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
		strings.Repeat("x", headerBytesMax+1)} {
		if n, _, err := EtcdHTTP.frame([]byte(text)); err == nil {
			t.Errorf("HTTP %.20q: %d bytes and no error", text, n)
		}
	}
}

// What is sent to etcd is understood by a real HTTP server.
func TestEtcdRequests(t *testing.T) {
	type body struct{ Key, Value []byte }
	asked := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		var b body
		if err == nil {
			err = json.Unmarshal(text, &b)
		}
		if err != nil || len(b.Key) != 16 || strings.HasSuffix(r.URL.Path, "put") != (len(b.Value) == 9) {
			http.Error(w, "bad", http.StatusBadRequest)
		}
		asked <- r.URL.Path
		io.WriteString(w, "{}")
	}))
	defer server.Close()
	o := Options{Addrs: []string{strings.TrimPrefix(server.URL, "http://")}, Protocol: EtcdHTTP,
		Command: "set", Connections: 2, Depth: 1, Keys: 20, Sizes: Sizes{9, 9, false}, Sequential: true,
		ReadShare: 0.5}
	result, err := Run(t.Context(), o)
	if err != nil || result.Errors > 0 || len(asked) != 20 {
		t.Errorf("%+v, %v, %d requests", result, err, len(asked))
	}
	o.Depth = 2
	if _, err := Run(t.Context(), o); err != ErrUnsupported {
		t.Errorf("a pipeline to etcd: %v", err)
	}
}
