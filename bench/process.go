package bench

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one that this package started. A process id alone is no identity: the system gives it
// to somebody else later. Together with the start time it is.
type process struct {
	PID   int    `json:"pid"`
	Birth string `json:"birth"`

	end *end // of a child of this process; nil: of another one's
}

// end is how a child ended.
type end struct {
	done  chan struct{}
	state *os.ProcessState // set when done is closed
}

// exitCode waits for the end of a child; -1: a signal ended it.
func (p process) exitCode(timeout time.Duration) (int, error) {
	if p.end == nil {
		return 0, fmt.Errorf("process %d is no child of this one", p.PID)
	}
	select {
	case <-p.end.done:
		return p.end.state.ExitCode(), nil
	case <-time.After(timeout):
		return 0, fmt.Errorf("process %d still runs after %s", p.PID, timeout)
	}
}

// birthOf tells when a process started, in a form that is only compared. Empty: there is no such
// process, or it has ended and waits for its parent.
func birthOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if os.IsNotExist(err) {
		if _, err := os.Stat("/proc/self/stat"); err == nil {
			return ""
		}
		return birthByPS(pid)
	}
	if err != nil {
		return ""
	}
	// The second field is the command in parentheses and may hold anything: count from its end.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const state, threads, startTime = 0, 17, 19
	if len(fields) <= startTime || fields[state] == "X" {
		return ""
	}
	// NB: the first thread is a zombie as soon as it has ended. While others end, they still hold the
	// ports and the lock of the data directory.
	if fields[state] == "Z" && (fields[threads] == "0" || fields[threads] == "1") {
		return ""
	}
	return bootID() + "/" + fields[startTime]
}

// bootID distinguishes start times, which count from the start of the machine.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// birthByPS is for systems without /proc.
func birthByPS(pid int) string {
	out, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil || strings.HasPrefix(strings.TrimSpace(string(out)), "Z") {
		return ""
	}
	_, birth, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	return strings.TrimSpace(birth)
}

// alive reports whether exactly this process still runs.
func (p process) alive() bool { return p.PID > 0 && p.Birth != "" && birthOf(p.PID) == p.Birth }

// signal sends a signal to exactly this process. The handle is taken before the start time is
// compared, so on systems with process handles (Linux pidfd) no other process can slip in between.
func (p process) signal(sig syscall.Signal) error {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return fmt.Errorf("process %d: %w", p.PID, err)
	}
	defer handle.Release() // a handle, not the process
	if !p.alive() {
		return os.ErrProcessDone
	}
	if err := handle.Signal(sig); err != nil && !isGone(err) {
		return fmt.Errorf("send %s to process %d: %w", sig, p.PID, err)
	} else if err != nil {
		return os.ErrProcessDone
	}
	return nil
}

// waitGone waits until the process has ended; false: it still runs after the time-out.
func (p process) waitGone(timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for p.alive() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(2 * time.Millisecond)
	}
	return true
}

// spawn starts a command in the background with its output appended to a file. If this process
// lives long enough, it also reaps the child.
func spawn(binary string, args, env []string, logPath string) (process, error) {
	log, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return process{}, err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cleanEnvironment(os.Environ()), env...)
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return process{}, fmt.Errorf("start %s: %w", binary, err)
	}
	p := process{PID: cmd.Process.Pid, Birth: birthOf(cmd.Process.Pid),
		end: &end{done: make(chan struct{})}}
	go func() {
		cmd.Wait() // what it says is in the state
		p.end.state = cmd.ProcessState
		close(p.end.done)
	}()
	return p, nil
}

// cleanEnvironment removes settings that are meant for one node of the user's own. The planted bug of
// a program that is built with the tag mutants is meant for all nodes.
func cleanEnvironment(env []string) []string {
	var clean []string
	for _, pair := range env {
		if !strings.HasPrefix(pair, "KELEK_") || strings.HasPrefix(pair, "KELEK_MUTANT=") {
			clean = append(clean, pair)
		}
	}
	return clean
}
