package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestCalmedAddsToWhatGODEBUGSays(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []string
		want []string
	}{
		{"nothing said", []string{"A=b"}, []string{"A=b", "GODEBUG=" + calmSetting}},
		{"empty", []string{"GODEBUG=", "A=b"}, []string{"A=b", "GODEBUG=" + calmSetting}},
		{"something else said", []string{"GODEBUG=madvdontneed=1", "A=b"},
			[]string{"A=b", "GODEBUG=madvdontneed=1," + calmSetting}},
		{"another name that begins alike", []string{"GODEBUGX=1"},
			[]string{"GODEBUGX=1", "GODEBUG=" + calmSetting}},
		{"somebody has decided", []string{"GODEBUG=gctrace=1,schedtrace=1000"}, nil},
	} {
		got, changed := calmed(c.in, traceEvery-1)
		if changed != (c.want != nil) || changed && !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, changed %t; want %q", c.name, got, changed, c.want)
		}
	}
	if again, changed := calmed([]string{"GODEBUG=" + calmSetting}, 0); changed {
		t.Errorf("it would never end: %q", again)
	}
}

// On a machine that has been up for long the runtime would begin with a trace on standard error, where
// nothing but the log is expected.
func TestNobodyAsksForATraceThatIsDue(t *testing.T) {
	if got, changed := calmed([]string{"A=b"}, traceEvery); changed {
		t.Errorf("%q", got)
	}
	if up := uptime(); up <= 0 {
		t.Errorf("up for %s", up)
	}
}

// The program is started again in its own process, with its arguments, and only once.
func TestCalmRuntimeStartsTheProgramAgain(t *testing.T) {
	const told = "KELEK_TEST_CALM"
	if os.Getenv(told) != "" {
		CalmRuntime()
		fmt.Printf("process %d GODEBUG %s\n", os.Getpid(), os.Getenv("GODEBUG"))
		return
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), told+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := fmt.Sprintf("process %d GODEBUG ", cmd.Process.Pid)
	calm := strings.Contains(string(out), calmSetting)
	if text := string(out); strings.Count(text, want) != 1 || calm != (uptime() < traceEvery) {
		t.Errorf("%s\nwant a line %q with %s", text, want, calmSetting)
	}
}
