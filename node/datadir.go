package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// prepareDir makes sure that dir is a data directory, or an empty one that may become it. It
// writes nothing into a directory of somebody else: `--dir /home` is refused.
func prepareDir(dir string, d disk) error {
	names, err := listDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return makeDir(dir, d)
	}
	if err != nil {
		return dirError(dir, err)
	}
	if slices.Contains(names, identityFile) {
		return nil
	}
	// What an unfinished first start or a fresh file system leaves behind is not data.
	names = slices.DeleteFunc(names, func(name string) bool {
		return name == lockName || name == identityTemp || name == "lost+found"
	})
	if len(names) == 0 {
		return nil
	}
	return &ExitError{ExitConfig, fmt.Errorf("directory %s is not empty (%s) and has no file %s: "+
		"it is not kelek's; choose an empty or new --dir", dir, someNames(names), identityFile)}
}

func listDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func someNames(names []string) string {
	const shown = 3
	if len(names) > shown {
		return strings.Join(names[:shown], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// makeDir creates dir and what is missing above it, each entry durable in its parent: a node that
// acknowledged writes must not lose its whole directory to a power cut.
func makeDir(dir string, d disk) error {
	parent := filepath.Dir(filepath.Clean(dir))
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent, d); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return dirError(dir, err)
	}
	if err := d.syncDir(parent); err != nil {
		return dirError(dir, err)
	}
	return nil
}

func dirError(dir string, err error) error {
	return fileError(fmt.Errorf("data directory %s cannot be used: %w", dir, err))
}

// lockDir locks the directory for this process and leaves its pid for whoever comes second.
func lockDir(dir string) (io.Closer, error) {
	path := filepath.Join(dir, lockName)
	f, err := lockFile(path)
	if errors.Is(err, errLocked) {
		return nil, &ExitError{ExitLocked, fmt.Errorf("data directory %s is in use%s: stop that "+
			"process, or choose another --dir", dir, holder(path))}
	}
	if err != nil {
		return nil, dirError(dir, err)
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(dirError(dir, err), f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	return err
}

// holder names the process that has the lock, when the file says so and can be read.
func holder(path string) string {
	content, err := readBounded(path)
	if pid := strings.TrimSpace(string(content)); err == nil && pid != "" {
		return " by process " + pid
	}
	return ""
}

// readBounded reads a small file; a large one in its place is an error, not a large allocation.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, identityBytesMax+1))
	if err == nil && len(content) > identityBytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", path, identityBytesMax)
	}
	return content, err
}
