package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"kelek/raftcore/wire"
)

// tracedDisk is the real disk that writes down each step, and fails the step number failAt.
type tracedDisk struct {
	realDisk
	steps  []string
	failAt int // from 1; 0: never
	err    error
}

func (d *tracedDisk) step(text string) error {
	d.steps = append(d.steps, text)
	if len(d.steps) == d.failAt {
		return d.err
	}
	return nil
}

func (d *tracedDisk) writeSynced(path string, content []byte) error {
	if err := d.step("write " + filepath.Base(path)); err != nil {
		return err
	}
	return d.realDisk.writeSynced(path, content)
}

func (d *tracedDisk) rename(from, to string) error {
	err := d.step(fmt.Sprintf("rename %s %s", filepath.Base(from), filepath.Base(to)))
	if err != nil {
		return err
	}
	return d.realDisk.rename(from, to)
}

func (d *tracedDisk) syncDir(dir string) error {
	if err := d.step("sync " + filepath.Base(dir)); err != nil {
		return err
	}
	return d.realDisk.syncDir(dir)
}

func mustOpen(t *testing.T, dir, name string) *Identity {
	t.Helper()
	id, err := OpenIdentity(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	return id
}

// reopen starts again, as a process would after the former one ended.
func reopen(t *testing.T, id *Identity, name string) *Identity {
	t.Helper()
	if err := id.Close(); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, id.dir, name)
}

// wantExit checks the exit code and that the message says what it should.
func wantExit(t *testing.T, err error, code int, words ...string) {
	t.Helper()
	if ExitCode(err) != code {
		t.Fatalf("exit code %d, want %d: %v", ExitCode(err), code, err)
	}
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

func TestIdentityIsCreatedOnceAndCountsStarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "above", "data")
	id := mustOpen(t, dir, "")
	if id.Name != "n1" || id.NodeID == 0 || id.Boot != 1 || id.ClusterID != [16]byte{} {
		t.Fatalf("fresh identity: %+v", id)
	}
	again := reopen(t, id, "n1")
	if again.NodeID != id.NodeID || again.Boot != 2 {
		t.Fatalf("second start: %+v after %+v", again, id)
	}
	other := mustOpen(t, t.TempDir(), "n1")
	if other.NodeID == id.NodeID {
		t.Fatal("two directories have one node id")
	}
	for path, mode := range map[string]os.FileMode{"": 0o700, "/LOCK": 0o600, "/IDENTITY": 0o600} {
		info, err := os.Stat(dir + path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v; want %v", dir+path, info.Mode().Perm(), err, mode)
		}
	}
}

func TestIdentityRemembersTheCluster(t *testing.T) {
	id := mustOpen(t, t.TempDir(), "n2")
	founders := []wire.Founder{{ID: 1, Name: "n1"}, {ID: id.NodeID, Name: "n2"}}
	if err := id.SetCluster([16]byte{7}, founders, false); err != nil {
		t.Fatal(err)
	}
	id = reopen(t, id, "")
	if id.Name != "n2" || id.ClusterID != [16]byte{7} || !reflect.DeepEqual(id.Founders, founders) {
		t.Fatalf("after a restart: %+v", id)
	}
	if err := id.SetCluster([16]byte{7}, founders, false); err != nil {
		t.Fatalf("the same cluster again: %v", err)
	}
	wantExit(t, id.SetCluster([16]byte{8}, founders, false), ExitIdentity, "0700-0000", "0800-0000")
	if err := id.SetCluster([16]byte{}, nil, false); err == nil {
		t.Fatal("a zero cluster id was accepted")
	}
}

func TestIdentityRefusals(t *testing.T) {
	dir := t.TempDir()
	id := mustOpen(t, dir, "n1")
	_, err := OpenIdentity(dir, "n1")
	wantExit(t, err, ExitLocked, dir, fmt.Sprint("process ", os.Getpid()))
	id.Close()

	_, err = OpenIdentity(dir, "n2")
	wantExit(t, err, ExitIdentity, `"n1"`, `"n2"`, "--id n1", "--dir")
	_, err = OpenIdentity(dir, "n 2")
	wantExit(t, err, ExitConfig, "--id", `"n 2"`)
	if again := mustOpen(t, dir, "n1"); again.Boot != 2 {
		t.Errorf("refused starts were counted: boot %d", again.Boot)
	}
}

func TestIdentityKeepsOutOfForeignDirectories(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, err := OpenIdentity(dir, "n1")
	wantExit(t, err, ExitConfig, dir, "alice, bob, carol, ...", "not empty")
	if names, _ := listDir(dir); len(names) != 4 {
		t.Errorf("it left something behind: %v", names)
	}

	volume := t.TempDir()
	if err := os.Mkdir(filepath.Join(volume, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, volume, "n1")

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		_, err = OpenIdentity(path, "n1")
		wantExit(t, err, ExitConfig, path, "cannot be used")
	}
}

func TestIdentityNewerFormat(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, identityFile)
	if err := os.WriteFile(path, []byte("kelek identity 2\nwhatever\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenIdentity(dir, "n1")
	wantExit(t, err, ExitNewer, path, "format 2", "newer version")
}

// No flipped bit and no cut passes for an identity.
func TestIdentityDamage(t *testing.T) {
	id := &Identity{NodeID: 5, Name: "n1", Boot: 3, ClusterID: [16]byte{1},
		Founders: []wire.Founder{{ID: 5, Name: "n1"}}}
	whole := id.encode()
	var read Identity
	if err := read.decode(whole); err != nil || !reflect.DeepEqual(&read, id) {
		t.Fatalf("%+v, %v after\n%s", read, err, whole)
	}
	for i := range whole {
		for bit := range 8 {
			damaged := append([]byte(nil), whole...)
			damaged[i] ^= 1 << bit
			if err := new(Identity).decode(damaged); err == nil {
				t.Fatalf("accepted with bit %d of byte %d flipped:\n%s", bit, i, damaged)
			}
		}
		if err := new(Identity).decode(whole[:i]); err == nil {
			t.Fatalf("accepted with %d of %d bytes", i, len(whole))
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, identityFile), whole[:40], 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenIdentity(dir, "n1")
	wantExit(t, err, ExitCorrupt, "damaged")
}

func TestIdentityIsReplacedInOneOrder(t *testing.T) {
	d := &tracedDisk{}
	dir := t.TempDir()
	id, err := openIdentity(dir, "n1", d)
	if err != nil {
		t.Fatal(err)
	}
	defer id.Close()
	want := []string{"write IDENTITY.tmp", "rename IDENTITY.tmp IDENTITY",
		"sync " + filepath.Base(dir)}
	if !reflect.DeepEqual(d.steps, want) {
		t.Fatalf("steps %q, want %q", d.steps, want)
	}
}

// Whichever step fails, the start fails with the right code, and the next one finds either the old
// or the new identity.
func TestIdentitySurvivesEachFailure(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{{syscall.ENOSPC, ExitDiskFull}, {syscall.EROFS, ExitConfig}, {errors.New("I/O"), 1}} {
		for step := 1; step <= 3; step++ {
			id := mustOpen(t, t.TempDir(), "n1")
			id.Close()
			_, err := openIdentity(id.dir, "n1", &tracedDisk{failAt: step, err: c.err})
			wantExit(t, err, c.code)
			again := mustOpen(t, id.dir, "n1")
			if again.NodeID != id.NodeID || again.Boot < 2 || again.Boot > 3 {
				t.Fatalf("step %d: found %+v after %+v", step, again, id)
			}
			again.disk = &tracedDisk{failAt: step, err: c.err}
			wantExit(t, again.SetCluster([16]byte{1}, nil, true), c.code)
			if again.ClusterID != [16]byte{} {
				t.Fatal("a cluster that is not durable is used")
			}
		}
	}
}

func TestExitCode(t *testing.T) {
	wrapped := fmt.Errorf("start: %w", &ExitError{ExitLocked, errors.New("busy")})
	for err, code := range map[error]int{nil: 0, errors.New("x"): 1, wrapped: ExitLocked} {
		if ExitCode(err) != code {
			t.Errorf("%v: %d, want %d", err, ExitCode(err), code)
		}
	}
}
