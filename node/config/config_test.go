package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// parse runs kong as main does. env is set for the test.
func parse(t *testing.T, env map[string]string, args ...string) (*Serve, error) {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
	var cli struct {
		Serve Serve `cmd:""`
		Other struct {
			Nodes string `env:"KELEK_NODES"`
		} `cmd:""`
	}
	parser, err := kong.New(&cli, kong.Name("kelek"), kong.Exit(func(int) { t.Fatal("exit") }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"serve"}, args...)); err != nil {
		return nil, err
	}
	return &cli.Serve, cli.Serve.Resolve(os.Getenv)
}

func write(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kelek.conf")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	s, err := parse(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Addresses{
		Listen: "127.0.0.1:6380", PeerListen: "127.0.0.1:7380", HTTP: "127.0.0.1:8380",
		ClusterListen: "127.0.0.1:9380", Advertise: "127.0.0.1:6380",
		PeerAdvertise: "127.0.0.1:7380", ClusterAdvertise: "127.0.0.1:9380",
	}
	if s.Addresses != want {
		t.Errorf("addresses %+v", s.Addresses)
	}
	if s.Dir != "./kelek-data" || s.ID != "" || s.RequestTimeout != 10*time.Second ||
		s.ElectionTimeout != 500*time.Millisecond || s.Heartbeat != 50*time.Millisecond ||
		s.ProtoMaxBulkLen != 64<<20 || s.MaxClients != 10000 || s.Password != "" {
		t.Errorf("defaults %+v", s)
	}
	if !s.Addresses.OnLoopback() {
		t.Error("the default must be loopback only")
	}
}

func TestPrecedence(t *testing.T) {
	path := write(t, "# a comment\nid file\n\n  maxclients   7\nlog-level\twarn\n"+
		"request-timeout \"20s\"\nrequirepass \"from the file\"\nproto-max-bulk-len 1mb\n", 0o600)
	env := map[string]string{"KELEK_MAXCLIENTS": "8", "KELEK_ID": "env"}
	s, err := parse(t, env, "--config", path, "--id=flag")
	if err != nil {
		t.Fatal(err)
	}
	if s.ID != "flag" || s.MaxClients != 8 || s.LogLevel != "warn" ||
		s.RequestTimeout != 20*time.Second || s.Heartbeat != 50*time.Millisecond ||
		s.Password != "from the file" || s.ProtoMaxBulkLen != 1<<20 {
		t.Errorf("flag > environment > file > default is broken: %+v", s)
	}
}

func TestTheEnvironmentMayNameTheFile(t *testing.T) {
	path := write(t, "maxclients 7\n", 0o600)
	s, err := parse(t, map[string]string{"KELEK_CONFIG": path})
	if err != nil || s.MaxClients != 7 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestBadFiles(t *testing.T) {
	for content, want := range map[string]string{
		"maxclient 7":                            `:1: unknown setting "maxclient"; did you mean maxclients?`,
		"\n# x\nlisten-peer :1":                  `:3: unknown setting "listen-peer"; see kelek serve --help`,
		"election_timeout 1s":                    "did you mean election-timeout?",
		"maxclients":                             "maxclients: no value",
		"id \"x":                                 "quotes are not closed",
		"id a\nid b":                             "id is set twice",
		"config other":                           `unknown setting "config"`,
		"jion h:1":                               `did you mean join?`,
		"# " + strings.Repeat("x", fileBytesMax): "larger than 1mb",
	} {
		_, err := parse(t, nil, "--config", write(t, content, 0o600))
		var invalid *Error
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want ...%s", content, err, want)
		}
	}
	if _, err := parse(t, nil, "--config", "/nonexistent/file"); err == nil {
		t.Error("a missing file must be an error")
	}
	if _, err := parse(t, nil, "--config", write(t, "maxclients many", 0o600)); err == nil {
		t.Error("a value of the file must be checked as a flag is")
	}
}

func TestWrongSettingsNameTheWayOut(t *testing.T) {
	for args, want := range map[string]string{
		"--listen=0.0.0.0:6380":                              "--advertise is missing: --listen 0.0.0.0:6380",
		"--listen=:6380":                                     "--advertise is missing",
		"--listen=[::]:6380":                                 "--advertise is missing",
		"--listen=0.0.0.0:6380 --advertise=0.0.0.0:1":        "every interface",
		"--listen=0.0.0.0:6380 --advertise=h":                "not host:port",
		"--listen=0.0.0.0:6380 --advertise=h:0":              "port 0",
		"--peer-listen=0.0.0.0:7380":                         "--peer-advertise is missing",
		"--cluster-listen=0.0.0.0:9380":                      "--advertise",
		"--listen=6380":                                      "not host:port",
		"--listen=h:66666":                                   "0 to 65535",
		"--listen=127.0.0.1:65000":                           "--peer-listen would be port 66000",
		"--peer-listen=off":                                  "cannot be off",
		"--http=127.0.0.1:6380":                              "--listen and --http are both",
		"--election-timeout=100ms":                           "raise the one to 200ms",
		"--heartbeat=0s":                                     "--heartbeat 0s is below 1ms",
		"--request-timeout=900ms":                            "at least 1s",
		"--shutdown-timeout=0s":                              "above 0",
		"--maxclients=0":                                     "at least 1",
		"--log-keep-bytes=1023kb":                            "is below 1mb",
		"--snapshot-rate=65535":                              "is below 64kb",
		"--proto-max-bulk-len=1k":                            "1mb to 64mb",
		"--requirepass-file=/nonexistent":                    "--requirepass-file",
		"--peers=n1=127.0.0.1:7380,n2=10.0.0.2:7380 --id=n1": "loopback",
		"--join=127.0.0.1:7380,10.0.0.2:7380":                "loopback",
		"--promote-after=-1s":                                "negative",
		"--read=fresh":                                       "none of linearizable, lease, stale=DURATION",
		"--read=stale=soon":                                  `"soon" is not a duration`,
		"--read=stale=0s":                                    "1ms or more",
	} {
		_, err := parse(t, nil, strings.Fields(args)...)
		var invalid *Error
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want ...%s", args, err, want)
		}
	}
}

func TestReads(t *testing.T) {
	for args, want := range map[string]Reads{
		"":                    {},
		"--read=linearizable": {},
		"--read=lease":        {Lease: true},
		"--read=stale=1500ms": {Stale: 1500 * time.Millisecond},
	} {
		s, err := parse(t, nil, strings.Fields(args)...)
		if err != nil || s.Reads != want {
			t.Errorf("%s: %+v, %v", args, s, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for args, want := range map[string]Addresses{
		"--listen=0.0.0.0:6380 --advertise=db1:7000": {
			Listen: "0.0.0.0:6380", PeerListen: "0.0.0.0:7380", HTTP: "0.0.0.0:8380",
			ClusterListen: "0.0.0.0:9380", Advertise: "db1:7000", PeerAdvertise: "db1:7380",
			ClusterAdvertise: "db1:9380"},
		"--listen=[::1]:1 --http=off --cluster-listen=off": {
			Listen: "[::1]:1", PeerListen: "[::1]:1001", Advertise: "[::1]:1",
			PeerAdvertise: "[::1]:1001"},
		"--id=b --listen=10.0.0.2:6380 --peers=a=10.0.0.1:1,b=nat:2": {
			Listen: "10.0.0.2:6380", PeerListen: "10.0.0.2:7380", HTTP: "10.0.0.2:8380",
			ClusterListen: "10.0.0.2:9380", Advertise: "10.0.0.2:6380", PeerAdvertise: "nat:2",
			ClusterAdvertise: "10.0.0.2:9380"},
		"--listen=127.0.0.1:0": {
			Listen: "127.0.0.1:0", PeerListen: "127.0.0.1:0", HTTP: "127.0.0.1:0",
			ClusterListen: "127.0.0.1:0", Advertise: "127.0.0.1:0", PeerAdvertise: "127.0.0.1:0",
			ClusterAdvertise: "127.0.0.1:0"},
	} {
		s, err := parse(t, nil, strings.Fields(args)...)
		if err != nil {
			t.Errorf("%s: %v", args, err)
		} else if s.Addresses != want {
			t.Errorf("%s:\n got %+v\nwant %+v", args, s.Addresses, want)
		}
	}
}

func TestPasswords(t *testing.T) {
	secret := write(t, "open sesame\n", 0o600)
	s, err := parse(t, nil, "--requirepass-file", secret)
	if err != nil || s.Password != "open sesame" {
		t.Errorf("from a file: %v", err)
	}
	for _, setting := range s.Settings() {
		if strings.Contains(setting.Value, "sesame") {
			t.Errorf("CONFIG GET %s shows the password", setting.Name)
		}
	}
	s, err = parse(t, map[string]string{EnvRequirepass: "env"}, "--requirepass-file", secret)
	if err != nil || s.Password != "env" {
		t.Errorf("from the environment: %v", err)
	}
	t.Setenv(EnvRequirepass, "")
	for _, path := range []string{write(t, "x", 0o644), write(t, "\n", 0o600)} {
		if _, err := parse(t, nil, "--requirepass-file", path); err == nil {
			t.Error("a file that everybody can read, or an empty one, must be refused")
		}
	}
}

// Every flag can be set by its environment variable and is shown by CONFIG GET.
func TestEveryFlagIsEnvironmentAndSetting(t *testing.T) {
	var s Serve
	parser, err := kong.New(&s)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{"config": true, "help": true, "requirepass-file": true,
		"maxclients": true, "proto-max-bulk-len": true} // the last two are shown by resp
	for _, setting := range s.Settings() {
		if shown[setting.Name] {
			t.Errorf("CONFIG GET shows %s twice", setting.Name)
		}
		shown[setting.Name] = true
	}
	for _, flag := range parser.Model.Flags {
		env := "KELEK_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		if flag.Name != "help" && (len(flag.Tag.Envs) != 1 || flag.Tag.Envs[0] != env) {
			t.Errorf("--%s: environment %v, want %s", flag.Name, flag.Tag.Envs, env)
		}
		if flag.Name != "help" && (flag.Help == "" || flag.Group == nil) {
			t.Errorf("--%s has no help or no group", flag.Name)
		}
		if !shown[flag.Name] {
			t.Errorf("CONFIG GET does not show %s", flag.Name)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "17": 17, "1k": 1000, "1kb": 1024, "64MB": 64 << 20, "2gb": 2 << 30, "5b": 5, "1m": 1e6,
	} {
		if got, err := ParseBytes(text); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1tb", "1.5mb", "99999999999gb", "mb"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
	for n, want := range map[Bytes]string{0: "0", 5: "5", 1 << 10: "1kb", 64 << 20: "64mb", 1000: "1000"} {
		if n.String() != want {
			t.Errorf("%d: %s, want %s", int64(n), n, want)
		}
	}
}
