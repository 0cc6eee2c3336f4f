package mesh

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// namespaceDir is where ip keeps the names.
const namespaceDir = "/var/run/netns"

// removeLeftovers removes the namespaces of runs that were killed, and ends the nodes in them. The
// makers of the others still run.
func removeLeftovers() error {
	entries, err := os.ReadDir(namespaceDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var failures []error
	for _, entry := range entries {
		pid, ticks, ours := maker(entry.Name())
		if ours && startTicks(pid) != ticks {
			failures = append(failures, removeLeftover(entry.Name()))
		}
	}
	return errors.Join(failures...)
}

func removeLeftover(namespace string) error {
	inside, err := tool("", "ip", "netns", "pids", namespace)
	if err != nil && gone(namespace) {
		return nil // another run, which starts now, was faster
	}
	var failures []error
	for _, word := range strings.Fields(inside) {
		pid, err := strconv.Atoi(word)
		failures = append(failures, err)
		if err == nil {
			failures = append(failures, endNode(pid))
		}
	}
	if _, deleted := tool("", "ip", "netns", "del", namespace); deleted != nil && !gone(namespace) {
		failures = append(failures, deleted)
	}
	return errors.Join(append(failures, err)...)
}

func gone(namespace string) bool {
	_, err := os.Stat(namespaceDir + "/" + namespace)
	return errors.Is(err, fs.ErrNotExist)
}

// endNode kills a process if it is a node. Somebody may look around in the namespace with a shell.
// The handle is taken first: no other process can slip into the number in between.
func endNode(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer process.Release() // a handle, not the process
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	words := strings.Split(string(line), "\x00")
	if err != nil || !slices.Contains(words, "serve") || !slices.Contains(words, "--id") {
		return err
	}
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	return nil
}

// startTicks is when a process started, in ticks since the system did, or empty when there is no
// such process any more. Together with the process id it is never used twice.
func startTicks(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is the command in parentheses and may hold anything: count from its end.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const state, startTime = 0, 19
	if len(fields) <= startTime || fields[state] == "Z" || fields[state] == "X" {
		return ""
	}
	return fields[startTime]
}
